"""`edgetts doctor`: checks an installation, and says how to repair it."""

from __future__ import annotations

import typer

from edgetts.cli.common import (
    DeviceOption,
    JsonOption,
    PackOption,
    environment,
    print_json,
    print_line,
)
from edgetts.cli.doctor.finding import Finding, State

EXIT_BROKEN = 1


def doctor(
    context: typer.Context, pack: PackOption = None, device: DeviceOption = None, as_json: JsonOption = False
) -> None:
    """Check this installation, a line for each part, and say how to mend what is broken.

    What is merely absent is no failure. Exit code 1 when something is broken.
    """
    from edgetts.cli.doctor.checks import run_checks

    known = environment(context)
    findings = list[Finding]()
    for finding in run_checks(known, pack or known.pack, device or known.device or "auto"):
        findings.append(finding)
        if not as_json:
            print_line(finding.line)
    is_well = all(finding.state is not State.BROKEN for finding in findings)
    if as_json:
        checks = [{"name": f.name, "state": f.state.value, "text": f.text, "remedy": f.remedy} for f in findings]
        print_json({"ok": is_well, "checks": checks})
    if not is_well:
        raise typer.Exit(EXIT_BROKEN)
