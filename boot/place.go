package boot

import (
	"cmp"
	"fmt"
	"slices"
)

// highestGPA bounds where kernel and initrd go: the zero page has 32-bit fields for the latter, and the page tables that
// the kernel is entered with end there.
const highestGPA = 1 << 32

// placeKernel finds the kernel's place and adds its segments.
func (l *layout) placeKernel(s *Spec) error {
	var err error
	if k := s.Kernel; k.Format == BzImage {
		err = l.placeBzImage(k)
	} else {
		err = l.placeELF(k)
	}
	if err != nil {
		return err
	}
	if l.kernel.GPA < legacyEnd {
		return fmt.Errorf("%w: loaded at %v, below 1 MiB, where the zero page and the page tables are", ErrFormat, l.kernel)
	}
	// Memory above a hole is of no use: the kernel doesn't choose where it is loaded.
	if ram := s.Memory[0]; !ram.contains(l.kernel) {
		return fmt.Errorf("%w: kernel at %v (%s), memory is %v (%s)", ErrNoRoom, l.kernel, mebibytes(l.kernel.Size), ram,
			mebibytes(ram.Size))
	}
	return nil
}

// placeBzImage puts the protected-mode code where the kernel would like to run. Its decompressor moves itself out of
// its own way, within init_size, and picks another place if KASLR is on.
func (l *layout) placeBzImage(k *Kernel) error {
	h := k.Setup
	at := h.PrefAddress
	if at >= highestGPA {
		return fmt.Errorf("%w: pref_address %#x is above 4 GiB", ErrCorrupt, at)
	}
	end := at + uint64(h.InitSize)
	if h.Relocatable {
		at = roundUp(max(at, legacyEnd), uint64(h.Alignment))
		end = at + uint64(h.InitSize)
	} else {
		at = legacyEnd // what a bzImage was linked for when it could not be moved
	}
	code := Range{at, uint64(h.Code.Size)}
	l.kernel = Range{at, max(end, code.End()) - at}
	l.segments = append(l.segments, Segment{
		"kernel code", "the bzImage's protected-mode part, which unpacks the kernel", code,
		k.source(h.Code.Offset),
	})
	return nil
}

// placeELF puts segments where they say. Their zeros include all that the kernel uses before it has read its memory map
// (.bss, .brk); init_size is larger, for the sake of unpacking, and doesn't count here.
func (l *layout) placeELF(k *Kernel) error {
	l.kernel = k.Image.Range()
	if end := l.kernel.GPA + l.kernel.Size; end > highestGPA {
		return fmt.Errorf("%w: segments reach to %#x, above 4 GiB", ErrNoRoom, end)
	}
	for n, load := range k.Image.Loads {
		if err := l.addLoad(k, fmt.Sprintf("kernel segment %d", n), load); err != nil {
			return err
		}
	}
	return nil
}

// addLoad adds a PT_LOAD segment: what the file has of it, and zeros between and after.
func (l *layout) addLoad(k *Kernel, name string, load Load) error {
	runs := []FileRange{{load.Offset, int64(load.FileSize)}}
	// Holes can be trusted to stay holes only where nobody writes.
	if k.immutable && load.congruent() {
		var err error
		if runs, err = dataRuns(k.file, runs[0]); err != nil {
			return err
		}
	}
	at := load.PhysAddr
	zeroUpTo := func(end uint64) {
		if end > at {
			l.segments = append(l.segments, Segment{name, "zeros: .bss, and what pads sections", Range{at, end - at}, Source{}})
		}
	}
	for _, run := range runs {
		if run.Size == 0 {
			continue
		}
		start := load.PhysAddr + uint64(run.Offset-load.Offset)
		zeroUpTo(start)
		r := Range{start, uint64(run.Size)}
		l.segments = append(l.segments, Segment{name, "PT_LOAD", r, k.source(run.Offset)})
		at = r.End()
	}
	zeroUpTo(load.end())
	return nil
}

func (k *Kernel) source(offset int64) Source {
	return Source{File: k.file, Offset: offset, Immutable: k.immutable}
}

// initrdMax is the highest address of an initrd's last byte where the kernel doesn't tell: what Linux has in its header.
const initrdMax = 0x7fff_ffff

// placeInitrd puts the initrd as high as the kernel takes it, out of the way of what the kernel allocates first.
func (l *layout) placeInitrd(s *Spec) error {
	offsets, size, err := initrdParts(s.Initrd)
	if err != nil || size == 0 {
		return err
	}
	highest := uint64(initrdMax)
	if s.Kernel.Setup != nil {
		highest = uint64(s.Kernel.Setup.InitrdMax)
	}
	ram := s.Memory[0]
	taken := []Range{{0, legacyEnd}, l.kernel}
	for _, e := range l.e820 {
		if e.Type != E820RAM {
			taken = append(taken, e.Range)
		}
	}
	gpa, ok := highestGap(size, min(highest+1, ram.End(), highestGPA), taken)
	if !ok {
		return fmt.Errorf("%w: initrd of %#x bytes (%s), memory is %v (%s), the kernel has %v, and takes an initrd up to %#x",
			ErrNoRoom, size, mebibytes(size), ram, mebibytes(ram.Size), l.kernel, highest)
	}
	l.initrd = Range{gpa, size}
	for n, part := range s.Initrd {
		if part.Size > 0 {
			l.segments = append(l.segments, Segment{"initrd " + part.Name, "an archive for the root file system", Range{gpa + offsets[n], part.Size}, part.Source})
		}
	}
	return nil
}

// initrdParts returns where each part starts, and the size of all.
func initrdParts(parts []Part) (offsets []uint64, size uint64, err error) {
	for _, p := range parts {
		switch {
		case p.File == nil && uint64(len(p.Data)) != p.Size:
			return nil, 0, fmt.Errorf("%w: initrd part %s has %d bytes, says %d", ErrSpec, p.Name, len(p.Data), p.Size)
		case p.Size > highestGPA: // so that the sum can't wrap
			return nil, 0, fmt.Errorf("%w: initrd part %s of %#x bytes", ErrNoRoom, p.Name, p.Size)
		case p.File != nil:
			size = roundUp(size, pageSize)
		default:
			size = roundUp(size, 4)
		}
		offsets = append(offsets, size)
		if size += p.Size; size > highestGPA {
			return nil, 0, fmt.Errorf("%w: initrd of more than %#x bytes", ErrNoRoom, highestGPA)
		}
	}
	return offsets, size, nil
}

// highestGap finds the highest page below limit from which on size bytes are clear of what is taken: they end at limit,
// or just below something taken.
func highestGap(size, limit uint64, taken []Range) (gpa uint64, ok bool) {
	tops := []uint64{limit}
	for _, t := range taken {
		tops = append(tops, min(t.GPA, limit))
	}
	slices.SortFunc(tops, func(a, b uint64) int { return cmp.Compare(b, a) })
	for _, top := range tops {
		if top < size {
			break
		}
		found := Range{(top - size) &^ (pageSize - 1), size}
		if !slices.ContainsFunc(taken, found.overlaps) {
			return found.GPA, true
		}
	}
	return 0, false
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
