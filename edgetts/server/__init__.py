"""The daemon: one process with one warm engine that several clients share.

`settings` (addresses, limits), `request_queue` (admission), `host` (loads and unloads the networks), `service` (one
request from arrival to its log line), `faults` (errors for clients), `guard` (access checks), `metrics`; then the
protocols, which alone know JSON; then systemd: `notify`, `watchdog`, `units`, `systemd`. Needs the extra `serve`,
except `client`, `units` and `systemd`, which need nothing.
"""
