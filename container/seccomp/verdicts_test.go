package seccomp

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A comparison holds the program of Compile against libseccomp's over system calls that both are asked about.
//
// libseccomp has errors of its own. Version 2.5.4 may compare a word while another is in the accumulator: write allowed
// for args[1] < 0xffffffff and for args[1] >= 1<<63 is allowed for 0xffffffff too. So a third opinion, meanings, says
// which verdicts a profile can mean. Compile's is to be among them always, and the same as
// libseccomp's wherever libseccomp's is.
type comparison struct {
	t      *testing.T
	peer   *peer
	random *rand.Rand

	points    int
	refused   map[error]int // profiles that libseccomp does not take
	peerOlder int           // verdicts on calls that libseccomp has no number for
	peerWrong int           // verdicts of libseccomp that no rule of the profile gives
	order     int           // verdicts of two rules that match, and of which libseccomp prefers the other
}

func newComparison(t *testing.T) *comparison {
	return &comparison{t: t, peer: startPeer(t), random: rand.New(rand.NewPCG(1, 2)), refused: make(map[error]int)}
}

// check fails the test if libseccomp took too few profiles or has too many verdicts that no rule gives: then it is not
// what it is taken for, and nothing was compared.
func (c *comparison) check(profiles int) {
	refused := 0
	for _, n := range c.refused {
		refused += n
	}
	c.t.Logf("%d verdicts; libseccomp has %d wrong, %d by another order, %d for want of a number, and refuses %v",
		c.points, c.peerWrong, c.order, c.peerOlder, c.refused)
	if refused > profiles/2 || c.peerWrong > c.points/100 {
		c.t.Errorf("libseccomp refused %d of %d profiles, and has %d of %d verdicts wrong",
			refused, profiles, c.peerWrong, c.points)
	}
}

// profile compares the two for one profile.
func (c *comparison) profile(name string, spec *specs.LinuxSeccomp, rounds int) {
	c.t.Helper()
	spec = c.peer.known(spec)
	f, err := Compile(spec)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	program, err := c.peer.program(spec, 1)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ETIME) {
		c.refused[err]++
		return
	} else if err != nil {
		c.t.Fatalf("%s: libseccomp: %v", name, err)
	}
	newer := c.newer(spec)
	values := interesting(spec)
	for range rounds {
		for _, arch := range []uint32{ArchX86_64, ArchI386, unix.AUDIT_ARCH_AARCH64} {
			for _, nr := range c.numbers(arch, spec) {
				d := Data{NR: int32(nr), Arch: arch, InstructionPointer: c.random.Uint64()}
				for i := range d.Args {
					d.Args[i] = values[c.random.IntN(len(values))]
				}
				if arch == ArchI386 && nr == nrIPC {
					d.Args[0] &^= 0xffff0000 // the version, which libseccomp takes for a part of the call's number
				}
				want, _ := Run(program, &d)
				got := f.Evaluate(d)
				switch {
				case newer(d):
					want = Action(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
					fallthrough
				case !covers(spec, d):
					c.points++
					if got != want {
						c.t.Errorf("%s: Evaluate(%#x) = %v, want %v", name, d, got, want)
					}
				default:
					c.verdict(name, spec, d, got, want)
				}
			}
		}
	}
}

// covers tells whether a profile has a word to say of a call's ABI.
func covers(spec *specs.LinuxSeccomp, d Data) bool {
	switch {
	case d.Arch == ArchI386:
		return slices.Contains(spec.Architectures, specs.ArchX86)
	case d.Arch != ArchX86_64:
		return false
	}
	return uint32(d.NR) < x32Bit || uint32(d.NR) == noSyscall || slices.Contains(spec.Architectures, specs.ArchX32)
}

// lacks tells whether libseccomp has no number for a call.
func (c *comparison) lacks(d Data) bool {
	for kind, peerArch := range map[abi]string{x86_64: "x86_64", i386: "x86", x32: "x32"} {
		if (kind == i386) != (d.Arch == ArchI386) {
			continue
		}
		if name, ok := syscallName(kind, uint32(d.NR)); ok {
			return c.peer.resolve(peerArch, name) != int(d.NR)
		}
	}
	return false
}

// verdict compares one.
func (c *comparison) verdict(name string, spec *specs.LinuxSeccomp, d Data, got, peer Action) {
	c.t.Helper()
	c.points++
	if got == peer {
		return
	}
	meant := meanings(spec, d)
	switch {
	case !slices.Contains(meant, got):
	case c.lacks(d):
		c.peerOlder++
		return
	case !slices.Contains(meant, peer):
		c.peerWrong++
		return
	default:
		c.order++
		return
	}
	text, _ := json.Marshal(spec)
	c.t.Errorf("%s: Evaluate(%#x) = %v, libseccomp says %v, the profile %v\n%.3000s", name, d, got, peer, meant, text)
}

// numbers are those of the profile's calls, all others that there may be, and the edges between them.
func (c *comparison) numbers(arch uint32, spec *specs.LinuxSeccomp) []uint32 {
	list := []uint32{x32Bit - 1, x32Bit, 1<<31 - 1, 1 << 31, noSyscall - 1, noSyscall, c.random.Uint32()}
	if len(spec.Syscalls) > 30 {
		for nr := range uint32(600) {
			list = append(list, nr, nr|x32Bit)
		}
		return list
	}
	for _, entry := range spec.Syscalls {
		for _, name := range entry.Names {
			for _, peerArch := range map[uint32][]string{ArchX86_64: {"x86_64", "x32"}, ArchI386: {"x86"}}[arch] {
				if nr := c.peer.resolve(peerArch, name); nr >= 0 {
					list = append(list, uint32(nr-1), uint32(nr), uint32(nr), uint32(nr), uint32(nr+1))
				}
			}
		}
	}
	if arch == ArchI386 {
		list = append(list, nrSocketcall, nrSocketcall, nrIPC, nrIPC)
	}
	return list
}

// newer tells which calls fail with ENOSYS for being newer than all that a profile names: what runc puts before
// libseccomp's program.
func (c *comparison) newer(spec *specs.LinuxSeccomp) func(d Data) bool {
	newest := map[uint32]int{ArchX86_64: -1, ArchI386: -1}
	for _, entry := range spec.Syscalls {
		for _, name := range entry.Names {
			newest[ArchX86_64] = max(newest[ArchX86_64], c.peer.resolve("x86_64", name))
			newest[ArchI386] = max(newest[ArchI386], c.peer.resolve("x86", name))
			if socketcall(name)+ipc(name) != 0 { // libseccomp keeps their numbers to itself
				newest[ArchI386] = max(newest[ArchI386], int(findSyscall(name).number[i386]))
			}
		}
	}
	lets := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActLog, specs.ActTrace}
	hasX32 := slices.Contains(spec.Architectures, specs.ArchX32)
	hasI386 := slices.Contains(spec.Architectures, specs.ArchX86)
	return func(d Data) bool {
		last, ok := newest[d.Arch]
		nr := uint32(d.NR)
		switch {
		case !ok || last < 0 || slices.Contains(lets, spec.DefaultAction):
			return false
		case d.Arch == ArchI386 && !hasI386:
			return false
		case d.Arch == ArchX86_64 && nr >= x32Bit && nr != noSyscall:
			nr -= x32Bit
			return hasX32 && nr > uint32(last) && (nr < 512 || nr > 547)
		}
		return nr > uint32(last)
	}
}

// interesting are the values of a profile's conditions, those beside them, and such with one half changed.
func interesting(spec *specs.LinuxSeccomp) []uint64 {
	values := []uint64{0, 1, 0xffffffff, 1 << 32, 1 << 63, ^uint64(0)}
	for _, entry := range spec.Syscalls {
		for _, arg := range entry.Args {
			for _, v := range []uint64{arg.Value, arg.ValueTwo} {
				values = append(values, v, v-1, v+1, v&0xffffffff, v|1<<32, v+1<<32, v-1<<32, ^v, v^0x80000000)
			}
		}
	}
	return values
}

var allArchs = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}

// TestDefaultVerdicts compares the default profile, for no capability, for each alone, and for all.
func TestDefaultVerdicts(t *testing.T) {
	c := newComparison(t)
	capabilities := []string{
		"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_PACCT",
		"CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_SYS_NICE", "CAP_SYSLOG",
		"CAP_BPF", "CAP_PERFMON",
	}
	sets := [][]string{nil, capabilities}
	for i := range capabilities {
		sets = append(sets, capabilities[i:i+1])
	}
	for _, set := range sets {
		spec, err := Default(set)
		if err != nil {
			t.Fatal(err)
		}
		c.profile(fmt.Sprintf("default with %v", set), spec, 8)
	}
	c.check(len(sets))
	if c.peerWrong != 0 || c.order != 0 || len(c.refused) != 0 {
		t.Errorf("libseccomp has %d other verdicts on the default profile, refuses %v", c.peerWrong+c.order, c.refused)
	}
}

// recipe is what profiles are made at random of.
type recipe struct {
	actions []specs.LinuxSeccompAction
	ops     []specs.LinuxSeccompOperator
	one     bool // one action for all rules
	narrow  bool // no value has more than 32 bits
}

func (c *comparison) randomProfile(k recipe) *specs.LinuxSeccomp {
	pick := func(n int) int { return c.random.IntN(n) }
	names := []string{
		"read", "write", "ioctl", "personality", "clone", "socket", "bind", "accept", "sendmmsg", "send", "semop",
		"shmat", "msgget", "chown32", "fcntl64", "preadv2", "execve", "mmap", "mmap2", "close_range", "rt_sigaction",
		"arch_prctl",
	}
	names = names[pick(len(names)-3):]
	names = names[:1+pick(3)]
	few := []uint64{
		0, 1, 2, 3, 0x7f, 0x80000000, 0xffffffff, 1 << 32, 1<<32 + 1, 1<<32 + 2, 3 << 32, 1 << 63, ^uint64(0),
		c.random.Uint64(),
	}
	few = few[pick(len(few)-2):]
	few = few[:1+pick(len(few))]
	if k.narrow {
		for i := range few {
			few[i] &= 0xffffffff
		}
	}
	spec := &specs.LinuxSeccomp{DefaultAction: k.actions[pick(len(k.actions))]}
	if pick(2) == 0 {
		spec.Architectures = allArchs[pick(2):]
	}
	one := k.actions[pick(len(k.actions))]
	for range 1 + pick(6) {
		entry := specs.LinuxSyscall{Names: names[:1+pick(len(names))], Action: k.actions[pick(len(k.actions))]}
		if k.one {
			entry.Action = one
		}
		if entry.Action == specs.ActErrno && !k.one {
			errno := uint(1 + pick(3))
			entry.ErrnoRet = &errno
		}
		for range min(pick(8), 4) {
			entry.Args = append(entry.Args, specs.LinuxSeccompArg{
				Index: uint(pick(3)), Op: k.ops[pick(len(k.ops))],
				Value: few[pick(len(few))], ValueTwo: few[pick(len(few))],
			})
		}
		spec.Syscalls = append(spec.Syscalls, entry)
	}
	return spec
}

// TestRandomVerdicts compares profiles whose rules all want the same: any operator, any value, any number of arguments.
func TestRandomVerdicts(t *testing.T) {
	c := newComparison(t)
	actions := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActKillThread, specs.ActLog, specs.ActTrap,
		specs.ActTrace,
	}
	const profiles = 1000
	for i := range profiles {
		c.profile(fmt.Sprint("random ", i), c.randomProfile(recipe{actions, operators, true, false}), 10)
	}
	c.check(profiles)
	if c.order != 0 {
		t.Errorf("%d verdicts differ where all rules want the same", c.order)
	}
}

// TestContradictingVerdicts compares profiles whose rules want different things of one call. libseccomp's order is this
// compiler's (order.go), exactly for equality. Where its nodes for the upper half of several ranges become one,
// libseccomp keeps but one of their actions, by the time they came or by their value: that depends on more than the
// rules in question, and is not followed. It is rare among values that fit into 32 bits.
func TestContradictingVerdicts(t *testing.T) {
	equal := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpMaskedEqual}
	less := append(slices.Clone(equal), specs.OpLessThan, specs.OpLessEqual)
	greater := append(slices.Clone(equal), specs.OpGreaterThan, specs.OpGreaterEqual)
	actions := []specs.LinuxSeccompAction{
		specs.ActAllow, specs.ActErrno, specs.ActErrno, specs.ActKillProcess, specs.ActLog, specs.ActTrap,
	}
	for _, test := range []struct {
		name   string
		ops    []specs.LinuxSeccompOperator
		narrow bool
		oneIn  int // how many verdicts there are to one by another order, 0 if there is to be none
	}{
		{"equal", equal, false, 0},
		{"less", less, true, 10000},
		{"greater", greater, true, 3000},
		{"any", operators, false, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newComparison(t)
			const profiles = 1000
			for i := range profiles {
				c.profile(fmt.Sprint("random ", i), c.randomProfile(recipe{actions, test.ops, false, test.narrow}), 10)
			}
			c.check(profiles)
			if test.oneIn == 0 && c.order > 0 || test.oneIn > 0 && c.order > c.points/test.oneIn {
				t.Errorf("of %d verdicts, %d are by another order than libseccomp's", c.points, c.order)
			}
		})
	}
}
