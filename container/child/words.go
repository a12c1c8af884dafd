package child

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Word is a word in memory that a call fills in the child, and that later calls can go by.
type Word struct {
	name string
	at   uint64
	size int // 4 or 8
}

// Stat is what fstat(2) tells of a file, in the child.
type Stat struct{ Mode, UID, GID, Device, Inode Word }

// Fstat looks at the file that is open in fd.
func (p *Program) Fstat(fd Reg, object, why string) Stat {
	buf := p.room(statSize)
	p.Call("fstat", unix.SYS_FSTAT, object, why, From("fd", fd), filled("buf", buf, "struct stat"))
	return Stat{
		Mode:   Word{"st_mode", buf + statMode, 4},
		UID:    Word{"st_uid", buf + statUID, 4},
		GID:    Word{"st_gid", buf + statGID, 4},
		Device: Word{"st_rdev", buf + statRdev, 8},
		Inode:  Word{"st_ino", buf + statInode, 8},
	}
}

// Fstatfs looks at the file system of the file that is open in fd. The word is its magic number, see statfs(2).
func (p *Program) Fstatfs(fd Reg, object, why string) Word {
	buf := p.room(statfsSize)
	p.Call("fstatfs", unix.SYS_FSTATFS, object, why, From("fd", fd), filled("buf", buf, "struct statfs"))
	return Word{"f_type", buf + statfsType, 8}
}

// Result is what the call has returned that was kept in r.
func (p *Program) Result(name string, r Reg) Word {
	at := p.room(8)
	p.storeReg(at, r)
	return Word{name, at, 8}
}

// storeReg writes what a register holds into memory.
func (p *Program) storeReg(at uint64, r Reg) {
	p.add(step{kind: kindStoreReg, op: "store", quiet: true}, "", -1, 0, 0)
	p.code = append(p.code, at, uint64(r))
}

// Load takes a word's masked value into a register, to be an argument.
func (p *Program) Load(w Word, mask uint64) Reg {
	r := p.Reg()
	p.LoadInto(r, w, mask)
	return r
}

// LoadInto is Load into a register that there is.
func (p *Program) LoadInto(r Reg, w Word, mask uint64) {
	p.add(step{kind: kindLoad, op: "load", quiet: true}, "", r, wide(w.size), 0)
	p.code = append(p.code, w.at, mask)
}

// Set puts a number into a register.
func (p *Program) Set(r Reg, v uint64) {
	p.move(step{op: "move", quiet: true}, "", r, arg("", uintptr(v), nil))
}

// Expect fails with errno unless the masked word is want.
func (p *Program) Expect(w Word, mask, want uint64, errno unix.Errno, why string) {
	p.expectWord(w.name, w.at, w.size, mask, want, errno, next, why)
}

// Unless goes on at the label unless the masked word is want.
func (p *Program) Unless(w Word, mask, want uint64, to Label) {
	p.expect(step{op: "if", quiet: true}, "", w, mask, want, 0, to)
}

// Fail ends the child with an error of the program's own: the object says what is wrong.
func (p *Program) Fail(object string, errno unix.Errno, why string) {
	never := Word{at: p.room(8), size: 8}
	p.expect(step{op: "fail", object: object}, why, never, ^uint64(0), 1, errno, next)
	p.tell(Flags("with", uint64(errno), unix.ErrnoName(errno)))
}

// expect compares a word with want, and goes on at the label, or fails with errno.
func (p *Program) expect(s step, why string, w Word, mask, want uint64, errno unix.Errno, to Label) {
	s.kind = kindExpect
	p.add(s, why, -1, wide(w.size), 0)
	p.code = append(p.code, w.at, mask, want, uint64(errno))
	p.toWord(len(p.code)-1, to)
}

// MountSetattrFrom is MountSetattr with a user namespace whose descriptor a register holds, for MOUNT_ATTR_IDMAP.
func (p *Program) MountSetattrFrom(dir Arg, path string, flags uint64, attr unix.MountAttr, userns Reg, why string) Call {
	at := p.place(bytesOf(&attr))
	p.storeReg(at+attrUserNS, userns)
	return p.Call("mount_setattr", unix.SYS_MOUNT_SETATTR, path, why, named("dir", dir), hidden(p.Str("path", path)),
		Flags("flags", flags, flagText(flags, atFlags)),
		filled("attr", at, fmt.Sprintf("{set=%s userns=%s}", flagText(attr.Attr_set, mountAttributes), userns)),
		hidden(Int("size", unix.MOUNT_ATTR_SIZE_VER0)))
}
