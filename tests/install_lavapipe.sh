#!/bin/sh
# Mesa's software Vulkan, lavapipe, for `make test-system`; as root. LiteRT needs Mesa 25 or newer:
# where the distribution's own is older, it comes from Debian's backports, and those from the mirror
# that apt uses already. `--check` installs nothing: it fails where there is something to install.
set -eu
export DEBIAN_FRONTEND=noninteractive
packages="mesa-vulkan-drivers libvulkan1"

is_new_enough() {
  dpkg --compare-versions "${1:-0}" ge 25
}

installed() { # the version of a package; nothing where it is not there
  dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null |
    sed -n 's/^installed //p'
}

install() {
  # shellcheck disable=SC2086 # one word for each package
  apt-get install -y -qq --no-install-recommends "$@" $packages >/dev/null
}

add_backports() { # of the release $1
  folder=/etc/apt/sources.list.d
  stanza=$(for file in "$folder"/*.sources; do cat "$file" 2>/dev/null && echo; done |
    awk -v RS= -v suite="$1" '
      $0 ~ "(^|\n)Suites:([^\n]*[ \t])?" suite "([ \t\n]|$)" {
        sub("Suites:[^\n]*", "Suites: " suite "-backports"); print; exit
      }')
  if [ -n "$stanza" ]; then
    echo "$stanza" >"$folder/ds2edge-backports.sources"
    return
  fi
  line=$(cat /etc/apt/sources.list "$folder"/*.list 2>/dev/null |
    sed -n "s/^\(deb .*[^ ]\) *[ ]$1 .*/\1 $1-backports main/p" | head -n 1)
  if [ -z "$line" ]; then
    echo "tests/install_lavapipe.sh: apt has no source for $1, whose backports have Mesa 25" >&2
    exit 1
  fi
  echo "$line" >"$folder/ds2edge-backports.list"
}

if is_new_enough "$(installed mesa-vulkan-drivers)" && [ -n "$(installed libvulkan1)" ]; then
  exit 0
fi
[ "${1:-}" != --check ] || exit 1
apt-get update -qq
if is_new_enough "$(apt-cache policy mesa-vulkan-drivers | sed -n 's/^ *Candidate: *//p')"; then
  install
  exit 0
fi
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
add_backports "$release"
apt-get update -qq
install -t "$release-backports"
