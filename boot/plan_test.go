package boot

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/boot/acpi"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	mib = 1 << 20
	gib = 1 << 30
)

// ram is memory with a hole below 4 GiB.
func ram(size uint64) []Range {
	if size <= 3*gib {
		return []Range{{0, size}}
	}
	return []Range{{0, 3 * gib}, {4 * gib, size - 3*gib}}
}

// tables are ACPI tables of the least machine.
func tables(t testing.TB, gpa uint64) *acpi.Tables {
	t.Helper()
	tables, err := acpi.Build(acpi.Spec{GPA: gpa, Limit: 0x10000, CPUs: 1})
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// spec is everything for a kernel in 64 MiB.
func spec(t testing.TB, k *Kernel) Spec {
	return Spec{
		Kernel:   k,
		Cmdline:  "console=ttyS0 panic=-1",
		Initrd:   []Part{BytesPart("base", pattern(10_001)), BytesPart("run", pattern(501))},
		Memory:   ram(64 * mib),
		Reserved: []Range{{0xe000_0000, mib}},
		ACPI:     tables(t, 0xe0000),
		Seed:     pattern(32),
		Reset:    &PortWrite{0x602, 1},
	}
}

func plan(t testing.TB, s Spec) *Plan {
	t.Helper()
	p, err := NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// flatMemory is RAM from address 0 on.
type flatMemory []byte

func (m flatMemory) Slice(gpa, n uint64) ([]byte, error) {
	if gpa > uint64(len(m)) || n > uint64(len(m))-gpa {
		return nil, fmt.Errorf("%#x bytes at %#x are not in memory", n, gpa)
	}
	return m[gpa:][:n], nil
}

// mappingMemory notes what is mapped, and copies it.
type mappingMemory struct {
	flatMemory
	mapped []Range
	refuse error
}

func (m *mappingMemory) Map(gpa uint64, f *os.File, offset int64, n uint64) error {
	if m.refuse != nil {
		return m.refuse
	}
	if gpa%pageSize != 0 || offset%pageSize != 0 || n%pageSize != 0 || n == 0 {
		return fmt.Errorf("%#x bytes at %#x from %#x of the file are no pages", n, gpa, offset)
	}
	m.mapped = append(m.mapped, Range{gpa, n})
	b, err := m.Slice(gpa, n)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(b, offset)
	return err
}

func load(t testing.TB, p *Plan, m Memory) {
	t.Helper()
	if err := p.Load(m); err != nil {
		t.Fatal(err)
	}
}

// TestGolden holds the plans for the three ways in, as text and as JSON.
func TestGolden(t *testing.T) {
	bz, elf := open(t, bzImage()), open(t, vmlinux().bytes())
	unpacked := unpack(t, bz, "")
	s := func(k *Kernel, p Protocol) Spec {
		s := spec(t, k)
		s.Protocol = p
		return s
	}
	for name, spec := range map[string]Spec{
		"bzimage": s(bz, Auto), "vmlinux": s(unpacked, Auto), "pvh": s(unpacked, PVH), "elf": s(elf, Auto),
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, spec)
			var text bytes.Buffer
			if err := p.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			asJSON, err := json.MarshalIndent(p, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			for suffix, got := range map[string][]byte{".txt": text.Bytes(), ".json": append(asJSON, '\n')} {
				for _, k := range []*Kernel{bz, elf} {
					got = bytes.ReplaceAll(got, []byte(filepath.Dir(k.Path)), []byte("DIR"))
				}
				golden := filepath.Join("testdata", name+suffix)
				if *update {
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs (go test -update writes it):\n%s", golden, got)
				}
			}
		})
	}
}

// TestSeedStaysSecret looks for the seed in all that a plan prints.
func TestSeedStaysSecret(t *testing.T) {
	s := spec(t, open(t, bzImage()))
	s.Seed = []byte("a very secret seed of 32 bytes!!")
	p := plan(t, s)
	var text bytes.Buffer
	if err := p.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{text.String(), string(asJSON), fmt.Sprint(p.Segments), fmt.Sprintf("%+v", *p)} {
		if strings.Contains(out, "secret") || strings.Contains(out, "YSB2ZXJ5") || strings.Contains(out, fmt.Sprint(s.Seed)) {
			t.Errorf("the seed is in %.200s", out)
		}
	}
}

// TestLoad compares memory with the kernel and the initrd, loaded by copying and by mapping.
func TestLoad(t *testing.T) {
	file := vmlinux()
	bz := open(t, bzImage())
	initrd := pattern(3*pageSize + 77)
	initrdFile, err := os.Open(write(t, initrd))
	if err != nil {
		t.Fatal(err)
	}
	defer initrdFile.Close()
	for name, k := range map[string]*Kernel{
		"ELF": open(t, file.bytes()), "cached": unpack(t, bz, t.TempDir()), "anonymous": unpack(t, bz, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, k)
			base, err := FilePart("base", initrdFile, true)
			if err != nil {
				t.Fatal(err)
			}
			s.Initrd[0] = base
			p := plan(t, s)

			copied := make(flatMemory, 64*mib)
			load(t, p, copied)
			for i, l := range file.loads {
				got := copied[l.paddr:][:max(l.memsz, uint64(len(l.data)))]
				want := append(bytes.Clone(l.data), make([]byte, len(got)-len(l.data))...)
				if !bytes.Equal(got, want) {
					t.Errorf("segment %d is not in memory as it is in the file", i)
				}
			}
			zero := copied[zeroPageGPA:]
			at, size := le.Uint32(zero[offRamdiskImage:]), le.Uint32(zero[offRamdiskSize:])
			want := append(bytes.Clone(initrd), make([]byte, roundUp(uint64(len(initrd)), 4)-uint64(len(initrd)))...)
			want = append(want, s.Initrd[1].Data...)
			if got := copied[at:][:size]; !bytes.Equal(got, want) {
				t.Errorf("initrd at %#x with %d bytes is not the %d of its parts", at, size, len(want))
			}
			if at%pageSize != 0 {
				t.Errorf("initrd at %#x is off its page", at)
			}

			for _, refuse := range []error{nil, fmt.Errorf("shared memory: %w", errors.ErrUnsupported)} {
				mapped := &mappingMemory{flatMemory: make(flatMemory, 64*mib), refuse: refuse}
				load(t, p, mapped)
				if !bytes.Equal(mapped.flatMemory, copied) {
					t.Errorf("mapping (refused: %v) and copying differ", refuse)
				}
				initrdMapped := slices.Contains(mapped.mapped, Range{uint64(at), 3 * pageSize})
				kernelMapped := slices.ContainsFunc(mapped.mapped, func(r Range) bool { return r.GPA == 0x100_0000 })
				if initrdMapped != (refuse == nil) || kernelMapped != (refuse == nil && k.immutable) {
					t.Errorf("refused: %v, mapped are %v", refuse, mapped.mapped)
				}
			}
		})
	}
}

// TestLoadSkipsZeros checks that memory which nobody needs isn't touched.
func TestLoadSkipsZeros(t *testing.T) {
	p := plan(t, spec(t, unpack(t, open(t, bzImage()), "")))
	var zeros, all uint64
	for _, s := range p.Segments {
		if all += s.Size; s.File == nil && s.Data == nil {
			zeros += s.Size
		}
	}
	// The text's stretch of zeros, and .bss.
	if zeros < 0x10_0000 || all-zeros > 300_000 {
		t.Errorf("%d of %d bytes are left as zeros", zeros, all)
	}
}

func TestLoadErrors(t *testing.T) {
	k := open(t, bzImage())
	p := plan(t, spec(t, k))
	if err := p.Load(make(flatMemory, mib)); err == nil || !strings.Contains(err.Error(), "kernel code") {
		t.Errorf("in too little memory: error %v", err)
	}
	broken := errors.New("broken")
	p = plan(t, spec(t, unpack(t, k, "")))
	if err := p.Load(&mappingMemory{flatMemory: make(flatMemory, 64*mib), refuse: broken}); !errors.Is(err, broken) {
		t.Errorf("with a mapping that fails: error %v", err)
	}
	plain := openPath(t, write(t, vmlinux().bytes()))
	p = plan(t, spec(t, plain))
	if err := os.Truncate(plain.Path, pageSize); err != nil {
		t.Fatal(err)
	}
	if err := p.Load(make(flatMemory, 64*mib)); err == nil || !strings.Contains(err.Error(), plain.Path) {
		t.Errorf("with a kernel truncated since: error %v", err)
	}
}
