//! What a reload may change, and what only a start can.

use super::{Config, Device};

impl Config {
    /// The keys whose change from `self` to `next` takes a start of the daemon; none if a reload will do.
    pub fn needs_a_start(&self, next: &Self) -> Vec<String> {
        let (limits, others) = (&self.limits, &next.limits);
        let mut keys: Vec<String> = [
            ("listen", self.listen != next.listen),
            ("metrics", self.metrics != next.metrics),
            ("model-repository", self.model_repository != next.model_repository),
            ("state-dir", self.state_dir != next.state_dir),
            ("threads", self.threads != next.threads),
            ("telemetry", self.telemetry != next.telemetry),
            ("limits.message-bytes", limits.message_bytes != others.message_bytes),
            ("limits.streams-per-connection", limits.streams_per_connection != others.streams_per_connection),
            ("limits.connections", limits.connections != others.connections),
        ]
        .into_iter()
        .filter(|&(_, differs)| differs)
        .map(|(key, _)| key.to_owned())
        .collect();
        let names =
            |config: &Self| config.device.iter().map(|device| device.name.clone()).collect::<Vec<_>>();
        if names(self) != names(next) {
            keys.push("which devices there are".into());
            return keys;
        }
        for (device, other) in self.device.iter().zip(&next.device) {
            keys.extend(
                device.needs_a_start(other).iter().map(|key| format!("{key} of device '{}'", device.name)),
            );
        }
        keys
    }
}

impl Device {
    fn needs_a_start(&self, next: &Self) -> Vec<&'static str> {
        let options = |device: &Self| {
            [&device.emulator, &device.torch, &device.tflite, &device.edgetpu].map(Option::clone)
        };
        [
            ("kind", self.kind != next.kind),
            ("source", self.source != next.source),
            ("runtimes", self.runtimes != next.runtimes),
            ("isolation", self.isolation != next.isolation),
            ("threads", self.threads != next.threads),
            ("memory-bytes", self.memory_bytes != next.memory_bytes),
            ("sandbox", self.sandbox() != next.sandbox()),
            ("sandbox-read", self.sandbox_read != next.sandbox_read),
            ("worker-memory-bytes", self.worker_memory_bytes != next.worker_memory_bytes),
            // Workers have as many lanes as they were started with.
            ("width", self.sharing().width < next.sharing().width),
            ("the options of a runtime", options(self) != options(next)),
        ]
        .into_iter()
        .filter(|&(_, differs)| differs)
        .map(|(key, _)| key)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let config: Config = toml::from_str(text).unwrap();
        config.check().unwrap();
        config
    }

    const DEVICE: &str = "[[device]]\nname = 'gpu0'\nkind = 'gpu'\nruntimes = ['emulator']\nwidth = 4\n";

    #[test]
    fn what_is_looked_at_each_time_may_change() {
        let now = config(DEVICE);
        for next in [
            "drain-grace-s = 1.0\n",
            "load-at-start = 'all'\n",
            "[limits]\nqueue-requests = 1\nrequests = 5\nrequests-per-stream = 1\nshared-memory-regions = 1\n",
            "[supervision]\nhang-timeout-s = 1.0\n",
            "[admission]\nutilisation-max = 0.5\n",
            "[calibration]\ntrial-requests = 1\n",
            "[[tenant]]\nname = 'a'\nadmin = true\nuids = [1]\n",
        ] {
            let next = config(&format!("{next}{DEVICE}"));
            assert_eq!(now.needs_a_start(&next), Vec::<String>::new(), "{next:?}");
        }
        let other = config(
            &format!("{DEVICE}multiplexing = 'time-sliced'\nquantum-ms = 3.0\n").replace("= 4", "= 2"),
        );
        assert_eq!(now.needs_a_start(&other), Vec::<String>::new());
    }

    #[test]
    fn what_is_fixed_at_the_start_is_named() {
        let now = config(DEVICE);
        for (next, key) in [
            (format!("listen = ['127.0.0.1:1']\n{DEVICE}"), "listen"),
            (format!("metrics = '127.0.0.1:1'\n{DEVICE}"), "metrics"),
            (format!("model-repository = '/x'\n{DEVICE}"), "model-repository"),
            (format!("state-dir = '/x'\n{DEVICE}"), "state-dir"),
            (format!("threads = 3\n{DEVICE}"), "threads"),
            (format!("[telemetry]\ntrace-share = 0.5\n{DEVICE}"), "telemetry"),
            (format!("[limits]\nmessage-bytes = 5000\n{DEVICE}"), "limits.message-bytes"),
            (format!("[limits]\nstreams-per-connection = 5\n{DEVICE}"), "limits.streams-per-connection"),
            (format!("[limits]\nconnections = 5\n{DEVICE}"), "limits.connections"),
            (DEVICE.replace("'gpu0'", "'gpu1'"), "which devices there are"),
            (DEVICE.replace("= 4", "= 5"), "width of device 'gpu0'"),
            (format!("{DEVICE}threads = 3\n"), "threads of device 'gpu0'"),
            (format!("{DEVICE}memory-bytes = 3\n"), "memory-bytes of device 'gpu0'"),
            (format!("{DEVICE}isolation = 'session'\n"), "isolation of device 'gpu0'"),
            (format!("{DEVICE}[device.torch]\nindex = 1\n"), "the options of a runtime of device 'gpu0'"),
        ] {
            assert_eq!(now.needs_a_start(&config(&next)), [key], "{next}");
        }
    }
}
