package container

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"sync"

	"github.com/moby/sys/capability"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// capabilityNumbers are those that the library knows, by name: "CAP_CHOWN".
var capabilityNumbers = sync.OnceValue(func() map[string]int {
	numbers := make(map[string]int)
	for _, c := range capability.ListKnown() {
		numbers["CAP_"+strings.ToUpper(c.String())] = int(c)
	}
	return numbers
})

// capabilities are the five sets, a bit each.
type capabilities struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// parseCapabilities reads the sets. A nil c is no capability at all. Names that this kernel does not know are told to
// warn and left out, as the specification wants it.
func parseCapabilities(c *specs.LinuxCapabilities, warn func(string, ...any)) (capabilities, error) {
	var out capabilities
	if c == nil {
		return out, nil
	}
	last, err := capability.LastCap()
	if err != nil {
		return out, err
	}
	for _, set := range []struct {
		field string
		names []string
		to    *uint64
	}{
		{"bounding", c.Bounding, &out.bounding},
		{"effective", c.Effective, &out.effective},
		{"permitted", c.Permitted, &out.permitted},
		{"inheritable", c.Inheritable, &out.inheritable},
		{"ambient", c.Ambient, &out.ambient},
	} {
		for _, name := range set.names {
			n, known := capabilityNumbers()[name]
			if !known || n > int(last) {
				warn("process.capabilities.%s: this kernel has no capability %q", set.field, name)
				continue
			}
			*set.to |= 1 << n
		}
	}
	return out, nil
}

// dropBounding takes what is not wanted out of the bounding set. It needs CAP_SETPCAP, and so comes first.
func (c capabilities) dropBounding(p *child.Program) {
	last, err := capability.LastCap()
	if err != nil {
		last = unix.CAP_LAST_CAP
	}
	p.Phase("drop capabilities from the bounding set")
	for n := range int(last) + 1 {
		if c.bounding&(1<<n) == 0 {
			p.Call("prctl", unix.SYS_PRCTL, capabilityName(n), "", child.Flags("option", unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"),
				child.Int("capability", n), child.Int("3", 0), child.Int("4", 0), child.Int("5", 0)).
				Accept(unix.EINVAL) // a kernel that has fewer
		}
	}
}

// raise gives a process that has become a user the right to load a filter, for a moment.
func (c capabilities) raise(p *child.Program) {
	p.Phase("raise CAP_SYS_ADMIN")
	c.effective = 1 << unix.CAP_SYS_ADMIN
	c.permitted |= c.inheritable | c.effective // set cannot give back what goes here
	c.capset(p, "it was lost with the user 0, but for the permitted set: the filter needs it")
}

// set sets the other four.
func (c capabilities) set(p *child.Program) {
	p.Phase("set capabilities")
	c.capset(p, "what the process may do")
	ambient := func(what uint64, show string, n int) child.Call {
		return p.Call("prctl", unix.SYS_PRCTL, "", "", child.Flags("option", unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"),
			child.Flags("what", what, show), child.Int("capability", n), child.Int("4", 0), child.Int("5", 0))
	}
	ambient(unix.PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL", 0).Accept(unix.EINVAL)
	for set := c.ambient; set != 0; set &= set - 1 {
		// What is not permitted and inheritable too cannot be ambient (capabilities(7)); runc, too, goes on without it.
		ambient(unix.PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE", bits.TrailingZeros64(set)).Accept(unix.EPERM)
	}
}

func (c capabilities) capset(p *child.Program, why string) {
	header := binary.LittleEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	header = binary.LittleEndian.AppendUint32(header, 0) // this process
	var data []byte
	for _, shift := range []int{0, 32} {
		for _, set := range []uint64{c.effective, c.permitted, c.inheritable} {
			data = binary.LittleEndian.AppendUint32(data, uint32(set>>shift))
		}
	}
	p.Call("capset", unix.SYS_CAPSET, "", why, p.Bytes("header", header, "v3"),
		p.Bytes("data", data, fmt.Sprintf("{effective=%#x permitted=%#x inheritable=%#x}", c.effective, c.permitted, c.inheritable)))
}

func capabilityName(n int) string {
	return "CAP_" + strings.ToUpper(capability.Cap(n).String())
}
