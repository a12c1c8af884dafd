package child

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AtCwd is the working folder, where a call wants a folder's descriptor.
var AtCwd = arg("dir", ^uintptr(99), "AT_FDCWD") // -100

// None is the descriptor of no file, where a call takes a path that starts at "/".
var None = arg("dir", ^uintptr(0), -1)

// hex is a number in hexadecimal.
func hex(v uint64) string { return fmt.Sprintf("%#x", v) }

// number shows a number in hexadecimal.
func number(name string, v uint64) Arg {
	return arg(name, uintptr(v), hexadecimal(v))
}

// mode shows permissions in octal.
func mode(name string, m uint32) Arg { return arg(name, uintptr(m), octal(m)) }

// Openat2 opens path below dir, as openat2(2). The returned register holds the descriptor.
func (p *Program) Openat2(dir Arg, path string, how unix.OpenHow, why string) (Call, Reg) {
	r := p.Reg()
	return p.openat2(r, dir, path, how, why), r
}

func (p *Program) openat2(r Reg, dir Arg, path string, how unix.OpenHow, why string) Call {
	how.Flags |= unix.O_CLOEXEC
	return p.Call("openat2", unix.SYS_OPENAT2, path, why,
		named("dir", dir), hidden(p.Str("path", path)), structure(p, "how", &how, shownHow{&how}),
		hidden(Int("size", unix.SizeofOpenHow))).Into(r)
}

// shownHow is spelled out when it is printed.
type shownHow struct{ *unix.OpenHow }

func (h shownHow) String() string {
	text := flagText(h.Flags, openFlags)
	if h.Resolve != 0 {
		text += " " + flagText(h.Resolve, resolveFlags)
	}
	return "{" + text + "}"
}

// bitsArg is an argument of flags that have names.
func bitsArg(name string, v uint64, names *[]flagName) Arg {
	return arg(name, uintptr(v), bits{v, names})
}

func named(name string, a Arg) Arg {
	a.name = name
	return a
}

// Close closes the descriptor in a register.
func (p *Program) Close(r Reg) {
	p.Call("close", unix.SYS_CLOSE, "", "", From("fd", r))
}

// Mkdirat makes a folder. One that is there is no error.
func (p *Program) Mkdirat(dir Arg, path string, perm uint32, why string) Call {
	return p.Call("mkdirat", unix.SYS_MKDIRAT, path, why, named("dir", dir), hidden(p.Str("path", path)), mode("mode", perm)).
		Accept(unix.EEXIST)
}

// Mknodat makes a file of the type in mode.
func (p *Program) Mknodat(dir Arg, path string, perm uint32, dev uint64, why string) Call {
	show := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	return p.Call("mknodat", unix.SYS_MKNODAT, path, why, named("dir", dir), hidden(p.Str("path", path)),
		mode("mode", perm), Flags("dev", dev, show))
}

// Symlinkat makes a symbolic link. One that is there is no error.
func (p *Program) Symlinkat(target string, dir Arg, path, why string) Call {
	return p.Call("symlinkat", unix.SYS_SYMLINKAT, path, why, p.Str("target", target), named("dir", dir),
		hidden(p.Str("path", path))).Accept(unix.EEXIST)
}

// Fsopen begins to make a file system, see fsopen(2).
func (p *Program) Fsopen(fstype, why string) (Call, Reg) {
	r := p.Reg()
	return p.Call("fsopen", unix.SYS_FSOPEN, fstype, why, hidden(p.Str("type", fstype)),
		Flags("flags", unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")).Into(r), r
}

// Fsconfig gives a file system in the making an option: key=value, or a flag where value is empty and flag true.
func (p *Program) Fsconfig(fs Reg, key, value string, flag bool) Call {
	if flag {
		return p.Call("fsconfig", unix.SYS_FSCONFIG, key, "", From("fs", fs),
			Flags("cmd", unix.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), hidden(p.Str("key", key)), hidden(Int("value", 0)), hidden(Int("aux", 0)))
	}
	return p.Call("fsconfig", unix.SYS_FSCONFIG, key+"="+value, "", From("fs", fs),
		Flags("cmd", unix.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), hidden(p.Str("key", key)), hidden(p.Str("value", value)), hidden(Int("aux", 0)))
}

// FsconfigCreate makes the file system of what it was given.
func (p *Program) FsconfigCreate(fs Reg, why string) Call {
	return p.Call("fsconfig", unix.SYS_FSCONFIG, "", why, From("fs", fs),
		Flags("cmd", unix.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), hidden(Int("key", 0)), hidden(Int("value", 0)), hidden(Int("aux", 0)))
}

// Fsmount makes a mount of a file system, that is nowhere yet.
func (p *Program) Fsmount(fs Reg, attributes uint64, why string) (Call, Reg) {
	r := p.Reg()
	return p.Call("fsmount", unix.SYS_FSMOUNT, "", why, From("fs", fs), Flags("flags", unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"),
		attributesArg(attributes)).Into(r), r
}

func attributesArg(v uint64) Arg {
	if v == 0 {
		return Int("attr", 0)
	}
	return bitsArg("attr", v, &mountAttributes)
}

// OpenTree clones a mount, or with AT_RECURSIVE all mounts below it too. The clone is nowhere yet.
func (p *Program) OpenTree(dir Arg, path string, flags uint64, why string) (Call, Reg) {
	r := p.Reg()
	flags |= unix.OPEN_TREE_CLOEXEC
	return p.Call("open_tree", unix.SYS_OPEN_TREE, path, why, named("dir", dir), hidden(p.Str("path", path)),
		bitsArg("flags", flags, &atFlags)).Into(r), r
}

// MountSetattr changes a mount's attributes, and with AT_RECURSIVE those of all below it.
func (p *Program) MountSetattr(dir Arg, path string, flags uint64, attr unix.MountAttr, why string) Call {
	var show string
	if attr.Attr_set != 0 {
		show += " set=" + flagText(attr.Attr_set, mountAttributes)
	}
	if attr.Attr_clr != 0 {
		show += " clear=" + flagText(attr.Attr_clr, mountAttributes)
	}
	if attr.Propagation != 0 {
		show += " propagation=" + propagationNames[attr.Propagation]
	}
	if attr.Userns_fd != 0 {
		show += fmt.Sprintf(" userns=%d", attr.Userns_fd)
		p.files = append(p.files, int(attr.Userns_fd))
	}
	return p.Call("mount_setattr", unix.SYS_MOUNT_SETATTR, path, why, named("dir", dir), hidden(p.Str("path", path)),
		bitsArg("flags", flags, &atFlags), structure(p, "attr", &attr, "{"+show[min(1, len(show)):]+"}"),
		hidden(Int("size", 32)))
}

// MoveMount puts a mount that is nowhere at the place that target is open at.
func (p *Program) MoveMount(mount, target Reg, object, why string) Call {
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	return p.Call("move_mount", unix.SYS_MOVE_MOUNT, object, why, From("from", mount), hidden(p.Str("path", "")),
		From("to", target), hidden(p.Str("path", "")), bitsArg("flags", flags, &moveFlags))
}

// Mount is mount(2), for what has no newer call.
func (p *Program) Mount(source, target, fstype string, flags uintptr, data, why string) Call {
	null := func(name, s string) Arg {
		if s == "" {
			return hidden(Int(name, 0))
		}
		return p.Str(name, s)
	}
	return p.Call("mount", unix.SYS_MOUNT, target, why, null("source", source), hidden(p.Str("target", target)),
		null("type", fstype), bitsArg("flags", uint64(flags), &mountFlags), null("data", data))
}

// Umount is umount2(2).
func (p *Program) Umount(target string, flags int, why string) Call {
	show := "0"
	if flags == unix.MNT_DETACH {
		show = "MNT_DETACH"
	}
	return p.Call("umount2", unix.SYS_UMOUNT2, target, why, hidden(p.Str("target", target)), Flags("flags", uint64(flags), show))
}

// WriteTo writes text to the descriptor in a register.
func (p *Program) WriteTo(fd Reg, object, text, why string) Call {
	return p.Call("write", unix.SYS_WRITE, object, why, From("fd", fd), p.Bytes("data", []byte(text), fmt.Sprintf("%q", text)),
		hidden(Int("size", len(text))))
}

// Expect fails with errno, or goes on at the label, unless the word of size bytes at offset in memory, masked, is want.
func (p *Program) expectWord(object string, at uint64, size int, mask, want uint64, errno unix.Errno, to Label, why string) {
	p.expect(step{op: "expect", object: object}, why, Word{at: at, size: size}, mask, want, errno, to)
	p.tell(number("mask", mask), number("want", want), Flags("else", uint64(errno), unix.ErrnoName(errno)))
}

// ExpectFS fails with errno unless the file that is open in fd lies on a file system of that magic number (statfs(2)).
func (p *Program) ExpectFS(fd Reg, object string, magic int64, errno unix.Errno, why string) {
	buf := p.room(statfsSize)
	p.Call("fstatfs", unix.SYS_FSTATFS, object, why, From("fd", fd), filled("buf", buf, "f_type"))
	p.expectWord("f_type", buf+statfsType, 8, ^uint64(0), uint64(magic), errno, next, "")
}

// ExpectDevice fails with errno unless the file that is open in fd is a character device of that number.
func (p *Program) ExpectDevice(fd Reg, object string, dev uint64, errno unix.Errno, why string) {
	buf := p.room(statSize)
	p.Call("fstat", unix.SYS_FSTAT, object, why, From("fd", fd), filled("buf", buf, "st_mode, st_rdev"))
	p.expectWord("st_mode", buf+statMode, 4, unix.S_IFMT, unix.S_IFCHR, errno, next, "")
	p.expectWord("st_rdev", buf+statRdev, 8, ^uint64(0), dev, errno, next, "")
}

// IfFolder goes on at the label if what is open in fd is no folder.
func (p *Program) IfFolder(fd Reg, object string, otherwise Label) {
	buf := p.room(statSize)
	p.Call("fstat", unix.SYS_FSTAT, object, "", From("fd", fd), filled("buf", buf, "st_mode"))
	p.expectWord("st_mode", buf+statMode, 4, unix.S_IFMT, unix.S_IFDIR, unix.ENOTDIR, otherwise, "a folder, or something else?")
}

// ExpectInRoot fails with ENOENT unless the working folder can be reached from the root: getcwd(2) begins with "/".
func (p *Program) ExpectInRoot(why string) {
	size := os.Getpagesize()
	buf := p.room(size)
	p.Call("getcwd", unix.SYS_GETCWD, "", why, filled("buf", buf, "first byte"), hidden(Int("size", size)))
	p.expectWord("cwd[0]", buf, 4, 0xff, '/', unix.ENOENT, next, "")
}

// Exit ends the child.
func (p *Program) Exit(status int) {
	p.Call("exit_group", unix.SYS_EXIT_GROUP, "", "", Int("status", status))
}
