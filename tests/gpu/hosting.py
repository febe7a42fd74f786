"""Checks of who shares the device, and how many: workers of their own, the first requests, and tenants with objectives."""

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from checks import MB, device_free_bytes, ensure, on_gpu
from serving import LOAD, Daemon, alone_ms, networks

QUANTILE = 0.99


def spread(one):
    return f"p50 {one['p50_ms']:.2f}, p99 {one['p99_ms']:.2f} ms"


# === isolation ===

# A request in the air when its worker dies may fail; none of another session may.
SESSIONS = 3


def taken_bytes(setup, daemon):
    """What the daemon's workers hold of the device's memory; of the host's, where the device is the processor."""
    if on_gpu(setup):
        return -device_free_bytes(setup)
    taken = 0
    for worker in daemon.workers().values():
        with open(f"/proc/{worker['pid']}/statm") as statm:
            taken += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return taken


def isolation(setup):
    """sessions with a worker each: what it costs, and a killed one disturbs no other"""
    seconds, rows = (4 if on_gpu(setup) else 3), []
    models, take = networks(SESSIONS), alone_ms(setup)
    rates = {name: LOAD / SESSIONS / take[network] * 1e3 for name, network in models.items()}
    for who in ("runtime", "session"):
        time.sleep(0.5)  # Until the worker before is gone.
        before = -device_free_bytes(setup) if on_gpu(setup) else 0
        with Daemon(setup, models, isolation=who, multiplexing="concurrent", width=4) as daemon:
            for name in models:
                daemon.admit(name, rates[name], 5_000)
            seen = daemon.drive(rates, seconds)
            failed = {name: one["errors"] for name, one in seen.items() if one["failed"]}
            ensure(not failed, f"{who}: {failed}")
            observed = {name: one["observed"] for name, one in daemon.sessions().items()}
            taken = taken_bytes(setup, daemon) - before
            setup.figures.setdefault("isolation", {})[who] = {
                "taken_bytes": taken, "rates_hz": rates, "observed": observed,
                "client": {name: one["latency_ms"] for name, one in seen.items()},
            }  # fmt: skip
            mean = {key: sum(one[key] for one in observed.values()) / SESSIONS for key in ("p50_ms", "p99_ms")}
            rows.append(f"isolation = {who}: {taken / MB:.0f} MB, {spread(mean)}")
            if who == "session":
                rows.append(killed(daemon, rates, seconds))
    return "; ".join(rows)


def killed(daemon, rates, seconds):
    """One session's worker is killed from outside while all are driven."""
    workers = daemon.workers()
    pids = {session: worker["pid"] for session, worker in workers.items()}
    ensure(len(set(pids.values())) == SESSIONS and all(pids.values()), f"not a process for each: {workers}")
    victim, *others = rates
    seen = {}
    driving = threading.Thread(target=lambda: seen.update(daemon.drive(rates, seconds)))
    driving.start()
    time.sleep(seconds / 2)
    os.kill(pids[f"{victim}/1"], signal.SIGKILL)
    driving.join()
    ensure(seen, "the load broke off")
    for name in others:
        ensure(seen[name]["failed"] == 0, f"{name}, whose worker lives: {seen[name]['errors']}")
    begun = time.monotonic()
    while daemon.sessions()[victim]["state"] != "ready":
        ensure(time.monotonic() - begun < 20, f"{victim} did not come back: {daemon.sessions()[victim]}")
        time.sleep(0.1)
    ensure(daemon.drive_closed(victim, 1, "--requests", 3)["failed"] == 0, f"{victim} does not serve again")
    now = {session: worker["pid"] for session, worker in daemon.workers().items()}
    ensure(all(now[f"{name}/1"] == pids[f"{name}/1"] for name in others), f"workers {pids}, then {now}")
    ensure(now[f"{victim}/1"] != pids[f"{victim}/1"], f"the killed one still lives: {now}")
    longest = max(seen[name]["latency_ms"]["max"] for name in others)
    return (f"one killed: {seen[victim]['failed']} of its {seen[victim]['sent']} failed, none of the others' "
            f"{sum(seen[name]['sent'] for name in others)}, of which the longest took {longest:.1f} ms")  # fmt: skip


# === the first requests ===

# First-time work on a device, the loading of kernels and the making of handles, takes a hundred milliseconds and more. What a
# client's first connection and a lane's first buffers take is far below this.
FIRST_TIME_MS = 30


def first_requests(setup):
    """no lane of four has its first-time work left when the session is ready"""
    rows, width, first = [], 4, 20
    alone_ms(setup)
    for network in ("mobilenet_v2", "resnet50"):
        for rounds in (2, 0):
            with Daemon(setup, {"m": network}, {"warm_up_requests": rounds}, multiplexing="concurrent", width=width) as daemon:
                daemon.ask("load", "m")
                begin = daemon.drive_closed("m", width, "--requests", first)["latency_ms"]
                steady = daemon.drive_closed("m", width, "--seconds", 1.5)["latency_ms"]
            setup.figures.setdefault("first_requests", []).append(
                {"network": network, "warm_up_requests": rounds, "first": begin, "steady": steady}
            )
            what = "warmed up" if rounds else "not warmed up"
            rows.append(f"{network} {what}: p50 {begin['p50']:.1f}, longest {begin['max']:.1f} ms of the first {first}, "
                        f"then p50 {steady['p50']:.1f}, longest {steady['max']:.1f}")  # fmt: skip
            if rounds and on_gpu(setup):
                ensure(begin["max"] <= steady["max"] + FIRST_TIME_MS, rows[-1])
    return "; ".join(rows)


# === hosting ===

SEED = 7
# So many of the list would take all of the device's time one after the other.
FILL = 12
# Nobody else is asked for then; loading one takes half a second to a whole one.
ADMIT_SECONDS = 40


def tenants(setup, count):
    """The list: each with a network, a rate, and the latency that its p99 may have. The device decides how long milliseconds
    are: shares of its time and multiples of what networks take are drawn, from one seed."""
    draw, take = random.Random(SEED), alone_ms(setup)
    typical = sum(take.values()) / len(take)
    return {
        name: {
            "network": network,
            "rate_hz": draw.uniform(0.5, 1.5) / FILL / take[network] * 1e3,
            "objective_ms": draw.uniform(6, 20) * typical,
        }
        for name, network in networks(count).items()
    }


def by_memory(daemon, asked):
    """Whatever has room in the device's memory, as a server does that loads what it is told to load."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: daemon.ask("load", name, codes=(0, 3)), asked))


def by_admission(daemon, asked):
    """Whoever's objective, and everybody else's, is predicted to hold; one after the other, since each changes what the next
    one meets."""
    begun = time.monotonic()
    for name, one in asked.items():
        if time.monotonic() - begun > ADMIT_SECONDS:
            return
        daemon.admit(name, one["rate_hz"], one["objective_ms"], codes=(0, 3))


def allowed_late(count):
    """Of so many requests, this share may be late where one in a hundred is: three standard errors, doubled since requests
    that wait for the same one are late together."""
    return (1 - QUANTILE) + 6 * (QUANTILE * (1 - QUANTILE) / count) ** 0.5


def hosted(setup, asked, host, seconds, **device):
    """Hosts of the list whom `host` lets in, drives all of them at their rates, and says who missed its objective."""
    source = {"source": "nvidia:0"} if on_gpu(setup) else {}
    networks_of = {name: one["network"] for name, one in asked.items()}
    with Daemon(setup, networks_of, width=4, **source, **device) as daemon:
        begun = time.monotonic()
        host(daemon, asked)
        took = time.monotonic() - begun
        hosts = [name for name, one in daemon.sessions().items() if one["state"] == "ready"]
        ensure(hosts, f"nobody is hosted: {daemon.said()[-300:]}")
        seen = daemon.drive({name: asked[name]["rate_hz"] for name in hosts}, seconds)
        sessions = daemon.sessions()
        rows = []
        for name in hosts:
            session, client = sessions[name], seen[name]
            # From the daemon's having a request to its having the answer; what is refused for a full queue was not served.
            observed = session["observed"] or {"p50_ms": float("inf"), "p99_ms": float("inf")}
            refused = client["failed"] / client["sent"]
            rows.append({
                "tenant": name, **asked[name], "observed": observed, "client": client["latency_ms"], "sent": client["sent"],
                "failed": client["failed"], "objective_kept": session["objective_kept"], "predicted": session["predicted"],
                "missed": observed["p99_ms"] > asked[name]["objective_ms"] or refused > 1 - QUANTILE,
            })  # fmt: skip
        mode = daemon.ask("devices")["devices"][0]["multiplexing"]
    return {"tenants": rows, "mode": mode, "seconds_to_host": took}


def hosting(setup):
    """of forty tenants with p99 objectives: who is hosted by memory alone, who by admission, and who misses"""
    gpu = on_gpu(setup)
    seconds, asked = (13, tenants(setup, 40)) if gpu else (6, tenants(setup, 8))
    # Four at once is what is best for throughput; with admission the daemon chooses.
    ways = {
        "by memory": hosted(setup, asked, by_memory, seconds, multiplexing="concurrent"),
        "by admission": hosted(setup, asked, by_admission, seconds, multiplexing="auto"),
    }
    setup.figures["hosting"] = {"asked": asked, **ways}
    rows = []
    for way, seen in ways.items():
        missed = [one for one in seen["tenants"] if one["missed"]]
        worst = max(one["observed"]["p99_ms"] / one["objective_ms"] for one in seen["tenants"])
        rate = sum(one["sent"] for one in seen["tenants"]) / seconds
        rows.append(f"{way} ({seen['mode']}) {len(seen['tenants'])} of {len(asked)}, {len(missed)} miss; the worst p99 is "
                    f"{worst:.2f} of its objective; {rate:.0f} requests/s")  # fmt: skip
    if gpu:
        for one in ways["by admission"]["tenants"]:
            late, most = 1 - one["objective_kept"], allowed_late(one["sent"])
            ensure(one["failed"] <= one["sent"] / 100, f"{one['tenant']}: {one['failed']} of {one['sent']} failed; {rows}")
            ensure(late <= most, f"{one['tenant']}: {late:.1%} late, {most:.1%} may be; " + "; ".join(rows))
    return "; ".join(rows)


CHECKS = [isolation, first_requests, hosting]
