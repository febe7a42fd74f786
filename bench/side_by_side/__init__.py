"""Measures edgemuxd and NVIDIA Triton side by side in one run, perf_analyzer being the client of both."""
