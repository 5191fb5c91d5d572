"""Known vulnerabilities of the packages installed here: `python tests/audit.py [options of pip-audit]`.

pip-audit passes over packages that its service does not answer for and ends well, even where it answers for none.
Here what was not checked counts as a failure.
"""

import json
import subprocess
import sys

_COMMAND = (
    sys.executable,
    "-m",
    "pip_audit",
    "--skip-editable",
    "--local",
    "--progress-spinner",
    "off",
    "--format",
    "json",
)


def main(*options):
    """Print what pip-audit found; returns 0 where all is well, 1 for vulnerabilities, 2 where something was not checked."""
    done = subprocess.run([*_COMMAND, *options], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        return tell(f"nothing was checked, the advisory service could not be asked: {said}", 2)
    packages = [p for p in packages if "editable" not in p.get("skip_reason", "")]
    passed_over = [p["name"] for p in packages if "skip_reason" in p]
    found = [
        f"{p['name']} {p['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no version yet'}"
        for p in packages
        for v in p.get("vulns", ())
    ]
    for line in found:
        tell(line)
    if len(passed_over) == len(packages):
        return tell(
            f"nothing was checked: the advisory service answered for none of {len(packages)} packages; "
            "can this machine reach https://pypi.org?",
            2,
        )
    if passed_over:
        tell(f"{len(passed_over)} of {len(packages)} packages were not checked: {', '.join(passed_over)}")
    tell(
        f"{len(found) or 'no'} known vulnerabilit{'y' if len(found) == 1 else 'ies'} in "
        f"{len(packages) - len(passed_over)} packages checked"
    )
    return 1 if found else 2 if passed_over else 0


def tell(line, status=0):
    print(f"audit: {line}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
