# What boot-test and chroot-test share: a fresh Debian below $root, what a package leaves in it, and a newer package.
# Read by them with `.`; $scratch is a directory of theirs, $root lies in it.
# shellcheck shell=bash disable=SC2154

. /etc/os-release

step() { echo; echo "== $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# Makes it. PACKAGES: beside the smallest set, with commas between them.
fresh_debian() { # PACKAGES
    step "a fresh Debian $VERSION_CODENAME"
    debootstrap --variant=minbase --include="$1" "$VERSION_CODENAME" "$root" >"$scratch/debootstrap" 2>&1 ||
        { tail -5 "$scratch/debootstrap"; fail debootstrap; }
}

# Names, and for accounts contents, of all that a package may leave behind.
listing() {
    (cd "$root" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./run -o -path ./tmp -o -path ./srv -o -path ./var/lib/dpkg \
        -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log -o -path ./var/tmp -o -path ./var/lib/systemd \
        -o -path './etc/*-' \) -prune -o -print | sort
        sort etc/passwd etc/group etc/shadow etc/gshadow)
}

# Makes the package a newer one of the same content.
newer() { # DEB VERSION FILE
    rm -rf "$scratch/newer"
    dpkg-deb -R "$1" "$scratch/newer"
    sed -i "s/^Version: .*/Version: $2/" "$scratch/newer/DEBIAN/control"
    chmod 0755 "$scratch/newer/DEBIAN" "$scratch/newer"
    dpkg-deb --root-owner-group -Zgzip -z1 -b "$scratch/newer" "$3" >/dev/null
}
