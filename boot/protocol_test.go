package boot

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestZeroPage reads struct boot_params as the kernel does.
func TestZeroPage(t *testing.T) {
	for name, contents := range map[string][]byte{"bzImage": bzImage(), "vmlinux": vmlinux().bytes()} {
		s := spec(t, open(t, contents))
		s.Memory = ram(5 * gib)
		p := plan(t, s)
		z := find(t, p, "zero page").Data
		if len(z) != pageSize || p.Entry.RSI != zeroPageGPA {
			t.Fatalf("%s: zero page of %d bytes, RSI %#x", name, len(z), p.Entry.RSI)
		}
		if le.Uint16(z[offBootFlag:]) != bootFlag || string(z[offMagic:offMagic+4]) != setupMagic || z[0x1ef] != 0 {
			t.Errorf("%s: boot_flag %#x, header %q, sentinel %#x", name, le.Uint16(z[offBootFlag:]), z[offMagic:offMagic+4], z[0x1ef])
		}
		if z[offLoaderType] != 0xff || z[offLoadFlags]&1 == 0 || le.Uint16(z[offVersion:]) != 0x20f {
			t.Errorf("%s: loader %#x, loadflags %#x, version %#x", name, z[offLoaderType], z[offLoadFlags], le.Uint16(z[offVersion:]))
		}
		if got := le.Uint64(z[offACPIRSDP:]); got != s.ACPI.RSDP {
			t.Errorf("%s: acpi_rsdp_addr %#x, want %#x", name, got, s.ACPI.RSDP)
		}
		initrd := Range{uint64(le.Uint32(z[offRamdiskImage:])), uint64(le.Uint32(z[offRamdiskSize:]))}
		base, run := find(t, p, "initrd base"), find(t, p, "initrd run")
		if initrd.GPA != base.GPA || initrd.End() != run.End() || run.GPA%4 != 0 {
			t.Errorf("%s: initrd %v, parts %v and %v", name, initrd, base.Range, run.Range)
		}
		line := find(t, p, "command line")
		if uint64(le.Uint32(z[offCmdlinePtr:])) != line.GPA || string(line.Data) != s.Cmdline+"\x00" {
			t.Errorf("%s: command line at %#x is %q", name, le.Uint32(z[offCmdlinePtr:]), line.Data)
		}
		seed := find(t, p, "seed")
		if d := seed.Data; le.Uint64(z[offSetupData:]) != seed.GPA || le.Uint64(d) != 0 || le.Uint32(d[8:]) != 9 ||
			le.Uint32(d[12:]) != 32 || string(d[16:]) != string(s.Seed) {
			t.Errorf("%s: setup_data at %#x is % x", name, le.Uint64(z[offSetupData:]), d)
		}
		var usable uint64
		for n := range int(z[offE820Entries]) {
			e := z[offE820Table+20*n:]
			if le.Uint32(e[16:]) == 1 {
				usable += le.Uint64(e[8:])
			}
		}
		if want := uint64(5*gib - (0x10_0000 - 0x9_fc00)); usable != want {
			t.Errorf("%s: e820 has %#x bytes of RAM, want %#x", name, usable, want)
		}
	}
}

// TestZeroPageIsQuiet has nothing that isn't there: no initrd, no ACPI, no seed.
func TestZeroPageIsQuiet(t *testing.T) {
	p := plan(t, Spec{Kernel: open(t, bzImage()), Memory: ram(64 * mib)})
	z := find(t, p, "zero page").Data
	if le.Uint64(z[offRamdiskImage:]) != 0 || le.Uint64(z[offACPIRSDP:]) != 0 || le.Uint64(z[offSetupData:]) != 0 {
		t.Errorf("initrd % x, RSDP %#x, setup_data %#x", z[offRamdiskImage:][:8], le.Uint64(z[offACPIRSDP:]), le.Uint64(z[offSetupData:]))
	}
	if got := find(t, p, "command line").Data; string(got) != "\x00" {
		t.Errorf("command line %q", got)
	}
}

// TestStartInfo reads struct hvm_start_info as the kernel does, following its addresses through memory.
func TestStartInfo(t *testing.T) {
	s := spec(t, open(t, vmlinux().bytes()))
	s.Protocol = PVH
	p := plan(t, s)
	memory := make(flatMemory, 64*mib)
	load(t, p, memory)
	info := memory[p.Entry.RBX:]
	if p.Entry.Mode != Protected32 || p.Entry.RIP != 0x100_0850 || le.Uint32(info) != 0x336ec578 || le.Uint32(info[4:]) != 1 {
		t.Fatalf("entry %v, start info % x", p.Entry, info[:56])
	}
	if n := le.Uint32(info[12:]); n != 1 {
		t.Fatalf("%d modules, want 1", n)
	}
	module := memory[le.Uint64(info[16:]):]
	if at, end := le.Uint64(module), find(t, p, "initrd run").End(); at != find(t, p, "initrd base").GPA || at+le.Uint64(module[8:]) != end {
		t.Errorf("module at %#x with %#x bytes", at, le.Uint64(module[8:]))
	}
	if line := memory[le.Uint64(info[24:]):]; !strings.HasPrefix(string(line[:100]), s.Cmdline+"\x00") {
		t.Errorf("command line %q", line[:100])
	}
	if rsdp := memory[le.Uint64(info[32:]):]; string(rsdp[:8]) != "RSD PTR " {
		t.Errorf("RSDP starts with %q", rsdp[:8])
	}
	table, n := le.Uint64(info[40:]), le.Uint32(info[48:])
	for i, e := range p.E820 {
		entry := memory[table+24*uint64(i):]
		if le.Uint64(entry) != e.GPA || le.Uint64(entry[8:]) != e.Size || le.Uint32(entry[16:]) != uint32(e.Type) {
			t.Errorf("memory map entry %d % x, want %v", i, entry[:24], e)
		}
	}
	if int(n) != len(p.E820) {
		t.Errorf("%d memory map entries, want %d", n, len(p.E820))
	}

	s.Initrd = nil
	load(t, plan(t, s), memory)
	if info := memory[p.Entry.RBX:]; le.Uint32(info[12:]) != 0 || le.Uint64(info[16:]) != 0 {
		t.Errorf("without an initrd: modules %d at %#x", le.Uint32(info[12:]), le.Uint64(info[16:]))
	}
}

// TestEntry64 walks the page tables as the processor does, and reads the GDT.
func TestEntry64(t *testing.T) {
	p := plan(t, spec(t, open(t, bzImage())))
	memory := make(flatMemory, 64*mib)
	load(t, p, memory)
	e := p.Entry
	if e.CR0&(1<<31|1) != 1<<31|1 || e.CR4&(1<<5) == 0 || e.EFER != 1<<8|1<<10 {
		t.Errorf("%v is not long mode with paging", e)
	}
	for _, gpa := range []uint64{0, 0x1234, zeroPageGPA, 0x100_0200, 0x3fff_ffff, 0x4000_0000, 0xffff_ffff} {
		next := func(table, index uint64) uint64 { return le.Uint64(memory[table&^0xfff+8*(index&511):]) }
		entry := next(next(next(e.CR3, gpa>>39), gpa>>30), gpa>>21)
		if entry&0x83 != 0x83 || entry&^0x1f_ffff+gpa&0x1f_ffff != gpa {
			t.Errorf("address %#x is mapped by %#x", gpa, entry)
		}
	}
	if entry := le.Uint64(memory[e.CR3+8:]); entry != 0 {
		t.Errorf("beyond 512 GiB there is %#x", entry)
	}
	for _, s := range []Selector{e.Code, e.Data, e.Task} {
		if got := le.Uint64(memory[e.GDT+uint64(s.Index):]); got != uint64(s.Descriptor) || s.Index+7 > e.GDTLimit {
			t.Errorf("selector %#x has %#x in the GDT, want %#x", s.Index, got, uint64(s.Descriptor))
		}
	}
	if e.Code.Index != 0x10 || e.Data.Index != 0x18 {
		t.Errorf("selectors %#x and %#x, the protocol wants 0x10 and 0x18", e.Code.Index, e.Data.Index)
	}
}

func TestDescriptor(t *testing.T) {
	cases := []struct {
		d              Descriptor
		base, limit    uint32
		kind           uint8
		s, p, l, db, g bool
	}{
		{code64, 0, 0xffff_ffff, 0xb, true, true, true, false, true},
		{code32, 0, 0xffff_ffff, 0xb, true, true, false, true, true},
		{data, 0, 0xffff_ffff, 3, true, true, false, true, true},
		{task, 0, 0x67, 0xb, false, true, false, false, false},
		{0x1250_9f34_5678_9abc, 0x1234_5678, 0x9abc, 0xf, true, true, false, true, false},
	}
	for _, c := range cases {
		d := c.d
		if d.Base() != c.base || d.Limit() != c.limit || d.Type() != c.kind || d.S() != c.s || d.P() != c.p || d.L() != c.l ||
			d.DB() != c.db || d.G() != c.g || d.DPL() != 0 || d.AVL() != (c.base != 0) {
			t.Errorf("%#x: base %#x limit %#x type %#x S %v DPL %d P %v AVL %v L %v D %v G %v", uint64(d), d.Base(), d.Limit(),
				d.Type(), d.S(), d.DPL(), d.P(), d.AVL(), d.L(), d.DB(), d.G())
		}
	}
}

func TestProtocolChoice(t *testing.T) {
	bz := open(t, bzImage())
	linux := vmlinux()
	other, bare := vmlinux(), vmlinux()
	other.notes, bare.notes = pvhNote(0x100_0850), nil
	lying := vmlinux()
	lying.notes = pvhNote(0x110_0000)
	cases := []struct {
		name   string
		kernel *Kernel
		ask    Protocol
		want   Protocol
		err    error
	}{
		{"bzImage", bz, Auto, Linux64, nil},
		{"bzImage by PVH", bz, PVH, 0, ErrProtocol},
		{"unpacked", unpack(t, bz, ""), Auto, Linux64, nil},
		{"unpacked by PVH", unpack(t, bz, ""), PVH, PVH, nil},
		{"Linux", open(t, linux.bytes()), Auto, Linux64, nil},
		{"another with a PVH note", open(t, other.bytes()), Auto, PVH, nil},
		{"another by Linux's protocol", open(t, other.bytes()), Linux64, Linux64, nil},
		{"without notes", open(t, bare.bytes()), Auto, Linux64, nil},
		{"without notes by PVH", open(t, bare.bytes()), PVH, 0, ErrProtocol},
		{"PVH entry in no segment", open(t, lying.bytes()), PVH, 0, ErrCorrupt},
		{"no protocol", bz, 77, 0, ErrProtocol},
	}
	for _, c := range cases {
		p, err := NewPlan(Spec{Kernel: c.kernel, Protocol: c.ask, Memory: ram(64 * mib)})
		if !errors.Is(err, c.err) || err == nil && p.Protocol != c.want {
			t.Errorf("%s: plan %v, error %v, want %v, %v", c.name, p, err, c.want, c.err)
		}
	}
}

func TestCmdline(t *testing.T) {
	short := open(t, bzFile{payload: []byte("x"), header: func(b []byte) { le.PutUint32(b[offCmdlineSize:], 255) }}.bytes())
	endless := open(t, bzFile{payload: []byte("x"), header: func(b []byte) { le.PutUint32(b[offCmdlineSize:], 1<<31) }}.bytes())
	cases := []struct {
		kernel *Kernel
		length int
		ok     bool
	}{
		{open(t, bzImage()), 2047, true},
		{open(t, bzImage()), 2048, false},
		{open(t, vmlinux().bytes()), 2047, true},
		{open(t, vmlinux().bytes()), 2048, false},
		{short, 255, true},
		{short, 256, false},
		{endless, cmdlineRoom - 1, true},
		{endless, cmdlineRoom, false},
	}
	for _, c := range cases {
		_, err := NewPlan(Spec{Kernel: c.kernel, Memory: ram(64 * mib), Cmdline: strings.Repeat("x", c.length)})
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrCmdline) {
			t.Errorf("%d bytes: error %v, want one %v", c.length, err, !c.ok)
		}
	}
	if _, err := NewPlan(Spec{Kernel: short, Memory: ram(64 * mib), Cmdline: "a\x00b"}); !errors.Is(err, ErrCmdline) {
		t.Errorf("a NUL: error %v, want ErrCmdline", err)
	}
}

func TestSpecRefused(t *testing.T) {
	many := make([]Range, 130)
	for i := range many {
		many[i] = Range{4*gib + uint64(i)*2*pageSize, pageSize}
	}
	cases := []struct {
		name  string
		spoil func(*Spec)
		want  error
	}{
		{"no kernel", func(s *Spec) { s.Kernel = nil }, ErrSpec},
		{"no memory", func(s *Spec) { s.Memory = nil }, ErrNoRoom},
		{"memory not from 0", func(s *Spec) { s.Memory = []Range{{mib, 64 * mib}} }, ErrNoRoom},
		{"part of a page", func(s *Spec) { s.Memory[0].Size++ }, ErrSpec},
		{"memory twice", func(s *Spec) { s.Memory = append(s.Memory, Range{32 * mib, mib}) }, ErrSpec},
		{"memory that wraps", func(s *Spec) { s.Memory = append(s.Memory, Range{1 << 63, 1 << 63}, Range{0, mib}) }, ErrSpec},
		{"nothing reserved", func(s *Spec) { s.Reserved = []Range{{gib, 0}} }, ErrSpec},
		{"reserved wraps", func(s *Spec) { s.Reserved = []Range{{^uint64(0), 2}} }, ErrSpec},
		{"reserved twice", func(s *Spec) { s.Reserved = []Range{{gib, mib}, {gib, mib}} }, ErrSpec},
		{"too many entries", func(s *Spec) { s.Reserved = many }, ErrSpec},
		{"ACPI outside of memory", func(s *Spec) { s.ACPI = tables(t, gib) }, ErrNoRoom},
		{"ACPI over the kernel", func(s *Spec) { s.ACPI = tables(t, 0x100_0000) }, ErrSpec},
		{"ACPI over the zero page", func(s *Spec) { s.ACPI = tables(t, zeroPageGPA) }, ErrSpec},
		{"long seed", func(s *Spec) { s.Seed = make([]byte, maxSeed+1) }, ErrSpec},
		{"initrd part that lies", func(s *Spec) { s.Initrd[0].Size++ }, ErrSpec},
	}
	for _, c := range cases {
		s := spec(t, open(t, bzImage()))
		c.spoil(&s)
		if _, err := NewPlan(s); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

func TestFilePart(t *testing.T) {
	for _, f := range []string{"/dev/null", t.TempDir(), write(t, nil)} {
		file, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := FilePart("x", file, false); !errors.Is(err, ErrSpec) {
			t.Errorf("%s as an initrd: error %v, want ErrSpec", f, err)
		}
	}
}
