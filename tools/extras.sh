#!/usr/bin/env bash
# Installs what the tests use where it is there and skip where it is not. Everything comes from package registries.
#
#   tools/extras.sh            all of it
#   tools/extras.sh redis      one part
#
# Exits 1 when a part could not be installed, after trying the others.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# debian PACKAGE...: installs what is missing; needs root.
debian() {
  dpkg -s "$@" >/dev/null 2>&1 && return
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "install the Debian packages $* (or run this as root)" >&2
    return 1
  fi
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# Makes the certificates of the tests.
openssl() { debian openssl; }

# A server that facts can live in.
redis() { debian redis-server; }

# A Vulkan device in software: a pool of GPU threads without a GPU.
vulkan() { debian chromium libvulkan1; }

# TensorFlow's own library, by the project's own command.
tensorflow() {
  { command -v g++ && python3 -m pip --version; } >/dev/null 2>&1 || debian g++ python3 python3-pip || return 1
  npm run -s build >/dev/null && node apps/cli/bin/millrace.js engines install tensorflow
}

parts=(openssl redis vulkan tensorflow)
[ $# -gt 0 ] || set -- "${parts[@]}"
failed=0
for part in "$@"; do
  case " ${parts[*]} " in
    *" $part "*) ;;
    *)
      echo "there is no part $part; parts are ${parts[*]}" >&2
      exit 2
      ;;
  esac
  echo "extras: $part"
  "$part" || failed=1
done
exit "$failed"
