package layer

import (
	"fmt"
	"maps"
	"time"
)

// Kind is what an entry is: the letters of ls -l, and some for what ls does not know.
type Kind byte

// The kinds of entries.
const (
	File     Kind = '-'
	Dir      Kind = 'd'
	Symlink  Kind = 'l'
	HardLink Kind = 'h' // one more name of an earlier entry
	Char     Kind = 'c'
	Block    Kind = 'b'
	FIFO     Kind = 'p'
	Whiteout Kind = 'w' // the name is gone
)

// An Entry is one name in a layer.
type Entry struct {
	Path    string // from the root of the layer, which is ".", without a slash at either end
	Kind    Kind
	Mode    uint32 // permissions, set-user-ID, set-group-ID and sticky bit: 07777
	UID     uint32 // as the archive has it
	GID     uint32
	Size    int64 // of a file in bytes, its holes included
	ModTime time.Time
	Link    string // of a symbolic link what it says, of a hard link the path of the other name
	Major   uint32 // of a device
	Minor   uint32

	Opaque  bool              // a folder that hides what the layers below have in it
	Implied bool              // a folder that the archive has no entry for
	Xattrs  map[string]string // those that were kept, by their names in the archive
}

// SameFolder tells whether two folders look the same from the outside, apart from their times.
func (e Entry) SameFolder(o Entry) bool {
	return e.Kind == Dir && o.Kind == Dir && e.Mode == o.Mode && e.UID == o.UID && e.GID == o.GID &&
		maps.Equal(e.Xattrs, o.Xattrs)
}

func (e Entry) String() string {
	s := fmt.Sprintf("%c%04o %d:%d %d %s", e.Kind, e.Mode, e.UID, e.GID, e.Size, e.Path)
	if e.Link != "" {
		s += " -> " + e.Link
	}
	return s
}
