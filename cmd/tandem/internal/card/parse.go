package card

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tandem/network"
)

// Path is a data path: who serves the card's rings.
type Path string

// The data paths.
const (
	Exit      Path = "exit"
	Eventfd   Path = "eventfd"
	Vhost     Path = "vhost"
	VhostUser Path = "vhost-user"
)

var paths = []string{string(Exit), string(Eventfd), string(Vhost), string(VhostUser) + "[:SOCKET]"}

// Card is a network card that is wanted.
type Card struct {
	// Where the cable ends: Bridge (a name, or DefaultBridge's), or Tap, or neither with VhostUser.
	Bridge string `json:"bridge,omitempty"`
	Tap    string `json:"tap,omitempty"`

	Path   Path   `json:"path"`
	Socket string `json:"socket,omitempty"` // of a vhost-user back-end; tandem starts one of its own if nobody is there

	MAC    string `json:"mac,omitempty"`
	Queues int    `json:"queues,omitempty"` // pairs; 1 if 0
	MTU    int    `json:"mtu,omitempty"`

	// BusyPoll is for how many microseconds the kernel's vhost looks for more before it sleeps.
	BusyPoll int `json:"busyPoll,omitempty"`

	// Address and Gateway are for a card that tandem does not lease an address for.
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Gateways  []netip.Addr   `json:"gateways,omitempty"`
}

// options are what Parse takes behind the first word.
var options = []string{"mac=MAC", "queues=N", "datapath=" + strings.Join(paths, "|"), "mtu=N", "busypoll=MICROSECONDS", "address=CIDR", "gateway=ADDRESS"}

// Parse reads bridge[=NAME][,OPTION...], tap=NAME[,OPTION...] or none.
func Parse(text string) (c Card, wanted bool, err error) {
	words := strings.Split(text, ",")
	kind, name, named := strings.Cut(words[0], "=")
	c.Path = Eventfd
	switch {
	case text == "none":
		return c, false, nil
	case kind == "bridge" && (!named || name != ""):
		mode, err := network.ParseMode(words[0])
		if err != nil {
			return c, false, err
		}
		c.Bridge = mode.Value
		if c.Bridge == "" {
			c.Bridge = network.DefaultBridge
		}
	case kind == "tap" && name != "":
		c.Tap = name
	case kind == "datapath": // of a vhost-user card, which has no cable here
	default:
		return c, false, fmt.Errorf("%q is none of none, bridge, bridge=NAME, tap=NAME, datapath=vhost-user:SOCKET", words[0])
	}
	if kind != "datapath" {
		words = words[1:]
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if err := c.set(key, value); err != nil {
			return c, false, fmt.Errorf("%s: %w", word, err)
		}
	}
	return c, true, c.check()
}

func (c *Card) set(key, value string) (err error) {
	switch key {
	case "mac":
		mac, err := net.ParseMAC(value)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return fmt.Errorf("want the address of one Ethernet card, such as 52:54:00:12:34:56")
		}
		c.MAC = mac.String()
	case "queues":
		if c.Queues, err = strconv.Atoi(value); err != nil || c.Queues < 1 || c.Queues > maxQueues {
			return fmt.Errorf("want 1 to %d pairs", maxQueues)
		}
	case "datapath":
		return c.setPath(value)
	case "mtu":
		if c.MTU, err = strconv.Atoi(value); err != nil || c.MTU < 68 || c.MTU > 65535 {
			return fmt.Errorf("want 68 to 65535")
		}
	case "busypoll":
		if c.BusyPoll, err = strconv.Atoi(value); err != nil || c.BusyPoll < 0 || c.BusyPoll > maxBusyPoll {
			return fmt.Errorf("want 0 to %d microseconds", maxBusyPoll)
		}
	case "address":
		a, err := netip.ParsePrefix(value)
		if err != nil {
			return fmt.Errorf("want an address and a prefix length, such as 192.0.2.2/24")
		}
		c.Addresses = append(c.Addresses, a)
	case "gateway":
		g, err := netip.ParseAddr(value)
		if err != nil {
			return err
		}
		c.Gateways = append(c.Gateways, g)
	default:
		return fmt.Errorf("none of %s", strings.Join(options, ", "))
	}
	return nil
}

// maxQueues is as many pairs as a tap has queues (MAX_TAP_QUEUES, drivers/net/tun.c).
const maxQueues = 256

// maxBusyPoll is a second: a worker that polls takes a whole CPU.
const maxBusyPoll = 1000000

func (c *Card) setPath(value string) error {
	kind, socket, _ := strings.Cut(value, ":")
	c.Path = Path(kind)
	switch {
	case c.Path == VhostUser:
		var err error
		if socket != "" {
			c.Socket, err = filepath.Abs(socket)
		}
		return err
	case slices.Contains([]Path{Exit, Eventfd, Vhost}, c.Path) && value == kind:
		return nil
	}
	return fmt.Errorf("want one of %s", strings.Join(paths, ", "))
}

// check tells what does not go together.
func (c *Card) check() error {
	cabled := c.Bridge != "" || c.Tap != ""
	switch {
	case c.Path == VhostUser && !cabled && c.Socket == "":
		return fmt.Errorf("datapath=vhost-user: without a bridge or tap it needs the SOCKET of somebody who has one")
	case c.Path != VhostUser && !cabled:
		return fmt.Errorf("datapath=%s needs a cable: --net bridge,datapath=%[1]s or --net tap=NAME,datapath=%[1]s", c.Path)
	case c.BusyPoll != 0 && c.Path != Vhost:
		return fmt.Errorf("busypoll: it is the kernel that polls: datapath=vhost")
	case c.Bridge != "" && len(c.Addresses)+len(c.Gateways) > 0:
		return fmt.Errorf("address, gateway: on a bridge of tandem's they are leased")
	}
	return nil
}

// pairs is the number of queue pairs.
func (c *Card) pairs() int { return max(1, c.Queues) }

// String is what stands behind the card, for people.
func (c *Card) String() string {
	switch {
	case c.Bridge != "":
		return "bridge " + c.Bridge
	case c.Tap != "":
		return "tap " + c.Tap
	}
	return c.Socket
}
