package boot

import (
	"bytes"
	"fmt"
)

// Notes are name, type and description, each padded to four bytes (System V ABI, "Note Section").
const (
	noteXen   = "Xen"
	noteLinux = "Linux" // include/linux/elfnote.h: build salt and others

	// From Xen's public header elfnote.h.
	noteGuestOS     = 6  // the kernel's name
	notePhys32Entry = 18 // where PVH enters
)

// readNotes looks for the PVH entry and for the kernel's name.
func (i *Image) readNotes() error {
	for rest := i.notes; len(rest) > 0; {
		var name, desc []byte
		var kind uint32
		var err error
		if name, kind, desc, rest, err = nextNote(rest); err != nil {
			return err
		}
		switch owner := string(bytes.TrimRight(name, "\x00")); {
		case owner == noteLinux:
			i.Linux = true
		case owner == noteXen && kind == noteGuestOS:
			i.Linux = i.Linux || bytes.HasPrefix(desc, []byte("linux"))
		case owner == noteXen && kind == notePhys32Entry:
			if i.PVHEntry, err = phys32Entry(desc); err != nil {
				return err
			}
		}
	}
	return nil
}

func nextNote(b []byte) (name []byte, kind uint32, desc, rest []byte, err error) {
	const header = 12
	if len(b) < header {
		return nil, 0, nil, nil, fmt.Errorf("%w: %d bytes left of the notes, a note has %d or more", ErrCorrupt, len(b), header)
	}
	nameSize, descSize, kind := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
	b = b[header:]
	end := roundUp(nameSize, 4) + descSize
	if end > uint64(len(b)) {
		return nil, 0, nil, nil, fmt.Errorf("%w: a note of %#x bytes where %#x are left", ErrCorrupt, end, len(b))
	}
	// The last note may end without its padding.
	return b[:nameSize], kind, b[roundUp(nameSize, 4):end], b[min(roundUp(end, 4), uint64(len(b))):], nil
}

// phys32Entry decodes the address, which is as long as the kernel's words are.
func phys32Entry(desc []byte) (uint64, error) {
	var entry uint64
	switch len(desc) {
	case 4:
		entry = uint64(le.Uint32(desc))
	case 8:
		entry = le.Uint64(desc)
	default:
		return 0, fmt.Errorf("%w: a PVH entry note of %d bytes, want 4 or 8", ErrCorrupt, len(desc))
	}
	if entry >= 1<<32 {
		return 0, fmt.Errorf("%w: PVH entry %#x, but PVH enters at 32 bits", ErrCorrupt, entry)
	}
	return entry, nil
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }
