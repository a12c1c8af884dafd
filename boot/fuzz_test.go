package boot

import (
	"bytes"
	"errors"
	"testing"

	"tandem/internal/testenv"
)

// parseKernel is Open of a file with these bytes, without the file.
func parseKernel(contents []byte) (*Kernel, error) {
	k := &Kernel{Path: "fuzz", size: int64(len(contents))}
	return k, k.parse(bytes.NewReader(contents))
}

// FuzzKernel gives a file of any contents to everything that reads headers. What is accepted has to have a plan that
// holds together, or an error that says why not.
func FuzzKernel(f *testing.F) {
	seedKernels(f)
	f.Fuzz(func(t *testing.T, contents []byte) {
		k, err := parseKernel(contents)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("error %v is neither ErrFormat nor ErrCorrupt", err)
			}
			return
		}
		for _, protocol := range []Protocol{Auto, Linux64, PVH} {
			for _, memory := range []uint64{32 * mib, 5 * gib} {
				s := Spec{Kernel: k, Protocol: protocol, Memory: ram(memory), Initrd: []Part{BytesPart("x", make([]byte, 5000))}}
				p, err := NewPlan(s)
				if err != nil {
					continue
				}
				checkFuzzPlan(t, p, s)
			}
		}
	})
}

// checkFuzzPlan is checkPlan for kernels that have no file.
func checkFuzzPlan(t *testing.T, p *Plan, s Spec) {
	t.Helper()
	var end uint64
	for _, seg := range p.Segments {
		if seg.GPA < end {
			t.Fatalf("%v begins before %#x", seg, end)
		}
		if end = seg.End(); end < seg.GPA || end > s.Memory[0].End() {
			t.Fatalf("%v is not in memory %v", seg, s.Memory[0])
		}
	}
}

// FuzzSetupHeader changes the fields of a setup header, which the fuzzer of whole files would seldom find.
func FuzzSetupHeader(f *testing.F) {
	whole := bzImage()
	f.Add(whole[offSetupSects:endSetupHeader], uint32(len(whole)))
	f.Add(whole[offSetupSects:endSetupHeader], uint32(3*sectorSize))
	f.Fuzz(func(t *testing.T, header []byte, size uint32) {
		contents := make([]byte, pageSize)
		copy(contents[offSetupSects:endSetupHeader], header)
		le.PutUint16(contents[offBootFlag:], bootFlag)
		copy(contents[offMagic:], setupMagic)
		h, err := parseSetup(contents, int64(size))
		if err != nil {
			return
		}
		for _, r := range []FileRange{h.Code, h.Payload} {
			if r.Offset < 0 || r.Size <= 0 || r.Offset > int64(size) || r.Size > int64(size)-r.Offset {
				t.Errorf("%+v is not within the file's %d bytes", r, size)
			}
		}
		if len(h.raw) > endSetupHeader-offSetupSects {
			t.Errorf("a header of %d bytes", len(h.raw))
		}
		k := &Kernel{Path: "fuzz", Format: BzImage, Setup: h, size: int64(size)}
		k.Version = h.readVersion(bytes.NewReader(contents))
		s := Spec{Kernel: k, Memory: ram(64 * mib), Cmdline: "x", Initrd: []Part{BytesPart("x", make([]byte, 5000))}}
		if p, err := NewPlan(s); err == nil {
			checkFuzzPlan(t, p, s)
		}
	})
}

// FuzzELF has ELF headers at the start of a file with any size.
func FuzzELF(f *testing.F) {
	f.Add(vmlinux().bytes()[:pageSize], uint16(400))
	skewed := vmlinux()
	skewed.skew = 8
	f.Add(skewed.bytes()[:pageSize], uint16(1))
	f.Fuzz(func(t *testing.T, head []byte, pages uint16) {
		contents := make([]byte, int(pages)*pageSize)
		copy(contents, head)
		i, err := parseELF(bytes.NewReader(contents), int64(len(contents)))
		if err != nil {
			return
		}
		var end uint64
		for _, l := range i.Loads {
			if l.PhysAddr < end || l.end() < l.PhysAddr || l.FileSize > l.MemSize {
				t.Errorf("segments %+v", i.Loads)
			}
			if l.Offset < 0 || uint64(l.Offset)+l.FileSize > uint64(len(contents)) {
				t.Errorf("segment %+v is not within the file's %d bytes", l, len(contents))
			}
			end = l.end()
		}
	})
}

func FuzzNotes(f *testing.F) {
	f.Add(vmlinux().notes)
	f.Add(pvhNote(0x100_0000)[:13])
	f.Add(le.AppendUint64(nil, ^uint64(0)))
	f.Fuzz(func(t *testing.T, notes []byte) {
		i := Image{notes: notes}
		if err := i.readNotes(); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error %v is not ErrCorrupt", err)
		}
		if i.PVHEntry >= 1<<32 {
			t.Errorf("PVH entry %#x", i.PVHEntry)
		}
	})
}

// FuzzRelayout writes any acceptable ELF file anew, and wants the same back.
func FuzzRelayout(f *testing.F) {
	f.Add(vmlinux().bytes())
	skewed := vmlinux()
	skewed.skew = 8
	f.Add(skewed.bytes())
	f.Fuzz(func(t *testing.T, contents []byte) {
		k, err := parseKernel(contents)
		if err != nil || k.Format != ELF {
			return
		}
		again := memoryFile(t)
		if err := k.Image.writeTo(again, bytes.NewReader(contents)); err != nil {
			t.Fatal(err)
		}
		image, err := imageOf(again)
		if err != nil {
			t.Fatal(err)
		}
		if !image.mappable() || image.Entry != k.Image.Entry || image.PVHEntry != k.Image.PVHEntry || len(image.Loads) != len(k.Image.Loads) {
			t.Fatalf("image %+v became %+v", k.Image, image)
		}
		for n, l := range image.Loads {
			was := k.Image.Loads[n]
			got := make([]byte, l.FileSize)
			if _, err := again.ReadAt(got, l.Offset); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, contents[was.Offset:][:was.FileSize]) || l.PhysAddr != was.PhysAddr || l.MemSize != was.MemSize {
				t.Errorf("segment %+v became %+v, or its contents changed", was, l)
			}
		}
	})
}

// seedKernels adds small kernels, and the head of a distribution's where the store has one.
func seedKernels(f *testing.F) {
	f.Add(bzImage())
	f.Add(vmlinux().bytes())
	f.Add(bzFile{payload: []byte("x")}.bytes())
	if testenv.Has(testenv.GuestKernel) {
		k := openPath(f, storedKernel(f, guestPackage))
		head := make([]byte, 64<<10)
		if _, err := k.file.ReadAt(head, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(head)
	}
}
