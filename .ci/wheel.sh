#!/usr/bin/env bash
# Build the wheel, install it into an environment of its own, run a small demo outside the clone.
set -euo pipefail
here=$PWD
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
.venv/bin/pip wheel -q --no-deps -w "$away/dist" .
python3 -m venv "$away/venv"
# the dependencies are those already installed here: only geomarket itself comes from the wheel
"$away/venv/bin/pip" install -q --no-deps "$away"/dist/*.whl
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
"$away/venv/bin/pip" list 2>/dev/null | grep -i geomarket
cd "$away"
wheel_site=$("$away/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
PYTHONPATH="$wheel_site:$site" "$away/venv/bin/python" - <<'PY'
import geomarket
assert "venv/lib" in geomarket.__file__, geomarket.__file__
PY
PYTHONPATH="$wheel_site:$site" "$away/venv/bin/python" -m geomarket demo --size small --out "$away/demo"
test -s "$away/demo/report.html" && test -s "$away/demo/plan.xlsx"
[ "$(dirname "$here")" != "$away" ]
echo "wheel: demo ran outside the clone"
