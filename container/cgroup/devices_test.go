package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// rules reads lines such as "allow c 1:3 rwm".
func rules(t testing.TB, text string) []specs.LinuxDeviceCgroup {
	t.Helper()
	var list []specs.LinuxDeviceCgroup
	for line := range strings.SplitSeq(text, ";") {
		var verb, kind, number, access string
		if _, err := fmt.Sscan(line, &verb, &kind, &number, &access); err != nil {
			t.Fatalf("rule %q: %v", line, err)
		}
		major, minor, _ := strings.Cut(number, ":")
		list = append(list, specs.LinuxDeviceCgroup{
			Allow: verb == "allow", Type: kind, Major: wild(t, major), Minor: wild(t, minor), Access: access,
		})
	}
	return list
}

func wild(t testing.TB, text string) *int64 {
	if text == "*" {
		return nil
	}
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

func TestCompileDevices(t *testing.T) {
	for _, test := range []struct{ rules, want string }{
		{"deny a *:* rwm", "deny []"},
		{"allow a *:* rwm", "allow []"},
		{"deny a *:* rwm; allow c 1:3 rwm; allow c 1:3 r", "deny [c 1:3 rwm]"},
		{"allow c 1:3 r; allow c 1:3 w", "deny [c 1:3 rw]"},
		{"allow c 1:3 rwm; deny c 1:3 m", "deny [c 1:3 rw]"},
		{"allow c 1:3 rwm; deny c 1:3 rwm", "deny []"},
		{"allow c 1:3 rwm; deny c 1:* w", "deny [c 1:3 rm]"},
		{"allow c 1:* m; allow c 1:3 rw; deny c 1:3 rw", "deny [c 1:* m]"},
		{"allow c 1:3 rwm; deny a *:* rwm; allow b 8:0 r", "deny [b 8:0 r]"},
		{"allow a *:* rwm; deny c 1:3 rwm", "allow [c 1:3 rwm]"},
		{"allow a *:* rwm; deny b 8:* w; allow b 8:* w", "allow []"},
		{"allow a *:* rwm; deny b 8:* rw; allow b *:* w", "allow [b 8:* r]"},
		{"allow a 10:* rw", "deny [b 10:* rw c 10:* rw]"},     // not everything, as version 1 would read it
		{"allow a *:* m", "deny [b *:* m c *:* m]"},           // likewise
		{"allow u 5:1 rw", "deny [c 5:1 rw]"},                 // mknod's other letter
		{"allow c 4095:1048575 r", "deny [c 4095:1048575 r]"}, // the largest dev_t
	} {
		d, err := CompileDevices(rules(t, test.rules))
		got := fmt.Sprint(map[bool]string{true: "allow ", false: "deny "}[d.allow], d.exceptions)
		if err != nil || got != test.want {
			t.Errorf("CompileDevices(%s) = %s, %v, want %s", test.rules, got, err, test.want)
		}
	}
}

func TestCompileDevicesRefuses(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for _, test := range []struct {
		rules []specs.LinuxDeviceCgroup
		is    error
		says  string
	}{
		{rules(t, "allow c 1:* rwm; deny c 1:3 rwm"), ErrNotSupported, `devices[1] c 1:3 rwm`},
		{rules(t, "allow c 1:* rwm; deny c *:3 r"), ErrNotSupported, "wider"},
		{rules(t, "allow a *:* rwm; deny c *:* rwm; allow c 1:3 r"), ErrNotSupported, "devices[2]"},
		{[]specs.LinuxDeviceCgroup{{Type: "p", Access: "r"}}, ErrInvalid, `type "p"`},
		{[]specs.LinuxDeviceCgroup{{Type: "c", Access: "rx"}}, ErrInvalid, `access "rx"`},
		{[]specs.LinuxDeviceCgroup{{Type: "c"}}, ErrInvalid, "no access"},
		{[]specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Major: number(-2)}}, ErrInvalid, "major -2"},
		{[]specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Major: number(4096)}}, ErrInvalid, "major 4096"},
		{[]specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Minor: number(1 << 20)}}, ErrInvalid, "minor 1048576"},
	} {
		if d, err := CompileDevices(test.rules); !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("CompileDevices(%+v) = %v, %v, want %v with %s", test.rules, d, err, test.is, test.says)
		}
	}
}

func TestDefaultDevices(t *testing.T) {
	d, err := CompileDevices(DefaultDevices())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		kind         DeviceType
		major, minor int64
		access       Access
		want         bool
	}{
		{CharDevice, 1, 3, Read | Write, true}, // null
		{CharDevice, 1, 1, Read, false},        // mem
		{CharDevice, 1, 1, Mknod, true},
		{CharDevice, 1, 11, Write, false}, // kmsg
		{CharDevice, 5, 2, Read | Write | Mknod, true},
		{CharDevice, 136, 77, Read | Write, true},
		{CharDevice, 10, 200, Read, false}, // net/tun
		{BlockDevice, 8, 0, Mknod, true},
		{BlockDevice, 8, 0, Read, false},
		{BlockDevice, 1, 3, Read, false},
	} {
		if got := d.Evaluate(test.kind, test.major, test.minor, test.access); got != test.want {
			t.Errorf("%c %d:%d %s is %v, want %v", test.kind, test.major, test.minor, test.access, got, test.want)
		}
	}
}

// kernelDevices is security/device_cgroup.c in miniature: what it does with a line that is written.
type kernelDevices struct {
	allow      bool
	exceptions []exception
}

func (k *kernelDevices) write(t *testing.T, s setting) {
	allow := s.file == "devices.allow"
	if s.value == "a" {
		k.allow, k.exceptions = allow, nil
		return
	}
	d, err := parseDeviceList([]byte(s.value))
	if err != nil || len(d.exceptions) != 1 {
		t.Fatalf("the kernel would refuse %q", s.value)
	}
	e := d.exceptions[0]
	i := slices.IndexFunc(k.exceptions, e.sameDevices)
	switch {
	case allow == k.allow && i >= 0: // dev_exception_rm: of the very same numbers
		if k.exceptions[i].access &^= e.access; k.exceptions[i].access == 0 {
			k.exceptions = slices.Delete(k.exceptions, i, i+1)
		}
	case allow == k.allow:
	case i >= 0: // dev_exception_add
		k.exceptions[i].access |= e.access
	default:
		k.exceptions = append(k.exceptions, e)
	}
}

func (k *kernelDevices) state() Devices {
	return Devices{k.allow, slices.Clone(k.exceptions)}
}

// TestDeviceLines holds that the lines for version 1 bring the kernel to the state, from nothing and from another.
func TestDeviceLines(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var last Devices
	var kernel kernelDevices
	for i := range 2000 {
		d, err := CompileDevices(randomRules(random))
		if err != nil {
			continue
		}
		fresh := kernelDevices{allow: true, exceptions: []exception{{CharDevice, 7, 7, Read}}}
		for _, line := range d.lines() {
			fresh.write(t, line)
		}
		if !fresh.state().Equal(d) {
			t.Fatalf("list %d: lines %v make %v, want %v", i, d.lines(), fresh, d)
		}
		for _, line := range d.since(last) {
			kernel.write(t, line)
		}
		if !kernel.state().Equal(d) {
			t.Fatalf("list %d: from %v lines %v make %v, want %v", i, last, d.since(last), kernel, d)
		}
		last = d
	}
	if len(last.since(last)) != 0 && !last.allow {
		t.Errorf("from a state to itself lead %v", last.since(last))
	}
}

// TestProgram runs the eBPF program on a machine of a few instructions, and compares with Evaluate.
func TestProgram(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	allowed := 0
	for range 2000 {
		list := randomRules(random)
		d, err := CompileDevices(list)
		if err != nil {
			continue
		}
		program := d.program()
		for range 30 {
			kind := []DeviceType{CharDevice, BlockDevice}[random.IntN(2)]
			major, minor, access := int64(random.IntN(3)), int64(random.IntN(3)), Access(random.IntN(8))
			want := d.Evaluate(kind, major, minor, access)
			if got := interpret(t, program, kind, major, minor, access); got != want {
				t.Fatalf("%v\n%v\n%c %d:%d %s: program says %v, Evaluate %v", list, program, kind, major, minor, access, got, want)
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < 1000 {
		t.Errorf("only %d accesses were allowed at all: the test shows little", allowed)
	}
}

func randomRules(r *rand.Rand) []specs.LinuxDeviceCgroup {
	var list []specs.LinuxDeviceCgroup
	number := func() *int64 {
		if n := int64(r.IntN(4)) - 1; n >= 0 {
			return &n
		}
		return nil
	}
	for range r.IntN(8) {
		rule := specs.LinuxDeviceCgroup{
			Allow: r.IntN(2) == 0, Type: []string{"a", "b", "c", "c"}[r.IntN(4)],
			Access: (Access(r.IntN(7)) + 1).String(), Major: number(), Minor: number(),
		}
		if r.IntN(8) == 0 {
			rule = specs.LinuxDeviceCgroup{Allow: rule.Allow, Access: "rwm"}
		}
		list = append(list, rule)
	}
	return list
}

// interpret is as much of an eBPF machine as the programs use.
func interpret(t *testing.T, code []bpfInstruction, kind DeviceType, major, minor int64, access Access) bool {
	t.Helper()
	// As another reads it than the one who wrote it.
	var program asm.Instructions
	var text bytes.Buffer
	for _, x := range code {
		text.Write([]byte{x.code, x.registers})
		binary.Write(&text, binary.LittleEndian, x.offset)
		binary.Write(&text, binary.LittleEndian, x.immediate)
	}
	for text.Len() > 0 {
		var ins asm.Instruction
		if err := ins.Unmarshal(&text, binary.LittleEndian, ""); err != nil {
			t.Fatal(err)
		}
		program = append(program, ins)
	}
	typ := uint64(bpfChar)
	if kind == BlockDevice {
		typ = bpfBlock
	}
	context := map[int16]uint64{ctxAccessType: uint64(access)<<16 | typ, ctxMajor: uint64(major), ctxMinor: uint64(minor)}
	var regs [11]uint64
	for pc, steps := 0, 0; pc < len(program) && steps <= len(program); pc, steps = pc+1, steps+1 {
		ins := program[pc]
		dst, constant := &regs[ins.Dst], uint64(ins.Constant)
		switch class := ins.OpCode.Class(); {
		case class.IsLoad():
			*dst = context[ins.Offset]
		case ins.OpCode.JumpOp() == asm.Exit:
			return regs[0] == 1
		case class.IsJump():
			var jump bool
			switch ins.OpCode.JumpOp() {
			case asm.JNE:
				jump = *dst != constant
			case asm.JEq:
				jump = *dst == constant
			default:
				t.Fatalf("unknown jump %v", ins)
			}
			if target := pc + 1 + int(ins.Offset); jump {
				if target <= pc || target >= len(program) {
					t.Fatalf("%v leads to %d, back or nowhere", ins, target)
				}
				pc = target - 1
			}
		default:
			if ins.OpCode.Source() == asm.RegSource {
				constant = regs[ins.Src]
			}
			switch ins.OpCode.ALUOp() {
			case asm.Mov:
				*dst = constant
			case asm.And:
				*dst &= constant
			case asm.RSh:
				*dst >>= constant
			default:
				t.Fatalf("unknown instruction %v", ins)
			}
		}
	}
	t.Fatal("the program has no end")
	return false
}

// FuzzCompileDevices holds that whatever compiles is the same in both forms.
func FuzzCompileDevices(f *testing.F) {
	f.Add(true, "c", int64(1), int64(3), "rwm", false, "a", int64(-1), int64(-1), "rwm")
	f.Add(true, "c", int64(1), int64(-1), "rw", false, "c", int64(1), int64(3), "r")
	f.Fuzz(func(t *testing.T, allow1 bool, type1 string, major1, minor1 int64, access1 string,
		allow2 bool, type2 string, major2, minor2 int64, access2 string,
	) {
		d, err := CompileDevices([]specs.LinuxDeviceCgroup{
			{Allow: allow1, Type: type1, Major: &major1, Minor: &minor1, Access: access1},
			{Allow: allow2, Type: type2, Major: &major2, Minor: &minor2, Access: access2},
		})
		if err != nil {
			return
		}
		var kernel kernelDevices
		for _, line := range d.lines() {
			kernel.write(t, line)
		}
		if !kernel.state().Equal(d) {
			t.Errorf("lines %v make %v, want %v", d.lines(), kernel, d)
		}
		program := d.program()
		for _, kind := range []DeviceType{CharDevice, BlockDevice} {
			for _, number := range [][2]int64{{major1, minor1}, {major2, minor2}, {major1, minor2}, {0, 0}} {
				for access := range allAccess + 1 {
					major, minor := max(number[0], 0), max(number[1], 0)
					want := d.Evaluate(kind, major, minor, access)
					if got := interpret(t, program, kind, major, minor, access); got != want {
						t.Errorf("%v: %c %d:%d %s: program says %v, Evaluate %v", d, kind, major, minor, access, got, want)
					}
				}
			}
		}
	})
}
