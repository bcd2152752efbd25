#!/usr/bin/env bash
# Installs the servers in Python that `npm run bench -- rival` compares with, each in a virtual environment of its own,
# with the versions of bench/rival/python/requirements. From the Python package index; nothing else needs them.
#
#   tools/rivals.sh                 all of them, some 5 GB
#   tools/rivals.sh fastapi triton  some
#
# They are put into .rivals, or where RIVALS_FOLDER says. What is complete and current is left as it is. Exits 1 when one
# could not be installed, after trying the others.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

requirements=bench/rival/python/requirements
folder=${RIVALS_FOLDER:-.rivals}
# The system's own where there is one: Triton's Python backend loads the system's libpython, whose modules must be of its version.
python=${PYTHON:-$(PATH=/usr/bin:$PATH command -v python3)}

all=()
for file in "$requirements"/*.txt; do all+=("$(basename "$file" .txt)"); done
case "${1:-}" in
  -h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    echo "They are: ${all[*]}"
    exit 0
    ;;
esac
[ $# -gt 0 ] || set -- "${all[@]}"

for name in "$@"; do
  if [ ! -f "$requirements/$name.txt" ]; then
    echo "there is no $name; there are ${all[*]}" >&2
    exit 2
  fi
done
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  echo "install Python 3.10 to 3.12 with venv (Debian: python3-venv), or name one with PYTHON" >&2
  exit 1
fi

# install NAME: the environment is there when its `complete` has what it was made of.
install() {
  local environment=$folder/$1
  cmp -s "$requirements/$1.txt" "$environment/complete" && return
  rm -rf "$environment"
  "$python" -m venv "$environment" &&
    "$environment/bin/pip" install --quiet --disable-pip-version-check --retries 10 --timeout 60 -r "$requirements/$1.txt" &&
    cp "$requirements/$1.txt" "$environment/complete"
}

failed=0
for name in "$@"; do
  echo "rivals: $name"
  install "$name" || failed=1
done
exit "$failed"
