package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"tandem/internal/pattern"
)

var (
	idForm     = pattern.New(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	bridgeForm = pattern.New(`^tandem[A-Za-z0-9_-]{1,9}$`)
)

func checkID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("ID %q: want up to 128 letters, digits, '_', '.', '-', the first no sign", id)
	}
	return nil
}

// checkBridgeName wants names that tell whose they are: whatever on a host begins so is tandem's to collect.
func checkBridgeName(name string) error {
	if !bridgeForm.MatchString(name) {
		return fmt.Errorf("bridge %q: want tandem and 1 to 9 letters, digits, '_', '-'", name)
	}
	return nil
}

// checkInterfaceName is the kernel's dev_valid_name, without '%', which asks for a number.
func checkInterfaceName(name string) error {
	switch {
	case name == "" || len(name) >= unix.IFNAMSIZ:
		return fmt.Errorf("interface %q: want 1 to %d bytes", name, unix.IFNAMSIZ-1)
	case name == "." || name == ".." || name == "lo" || name == "all" || name == "default":
		return fmt.Errorf("interface %q: is not free", name)
	case strings.ContainsAny(name, "/:% \t\n\v\f\r\x00"):
		return fmt.Errorf("interface %q: has '/', ':', '%%' or white space", name)
	}
	return nil
}

// linkName names the host's end for a box. Hop reports show it, so it says what the link is; and it is the same each
// time, so that what a killed process left is found.
func linkName(kind, bridge, id string) string {
	sum := sha256.Sum256([]byte(bridge + "/" + id))
	return kind + hex.EncodeToString(sum[:5])
}

// The kinds of links, which begin their names.
const (
	vethKind = "veth"
	tapKind  = "tap"
)

// Aliases say in `ip link` whose a link is.
func bridgeAlias(state string) string { return "tandem bridge, leases in " + state }

func linkAlias(bridge, id string) string { return "tandem " + bridge + " box " + id }

// parseLinkAlias is the inverse of linkAlias.
func parseLinkAlias(alias, bridge string) (id string, ok bool) {
	return strings.CutPrefix(alias, "tandem "+bridge+" box ")
}

// macPrefix begins the MACs that are made from IPv4 addresses: locally administered, unicast, 'T'.
var macPrefix = [2]byte{0x02, 'T'}

// macOf makes a MAC from an address. A neighbour that remembers the address has the right MAC then, also if another
// box got the address since.
func macOf(ip netip.Addr) net.HardwareAddr {
	four := ip.As4()
	return append(net.HardwareAddr(macPrefix[:]), four[:]...)
}

func checkMAC(mac net.HardwareAddr) error {
	switch {
	case len(mac) != 6:
		return fmt.Errorf("MAC %s: want 6 bytes", mac)
	case mac[0]&1 != 0:
		return fmt.Errorf("MAC %s: is a multicast address", mac)
	case [6]byte(mac) == [6]byte{}:
		return errors.New("MAC is zero")
	}
	return nil
}
