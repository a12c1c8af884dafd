package cgroup

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// DeviceType is 'c' or 'b'.
type DeviceType byte

// The two types of devices.
const (
	CharDevice  DeviceType = 'c'
	BlockDevice DeviceType = 'b'
)

// Access is what a process wants to do with a device, one bit each.
type Access uint8

// The bits are the kernel's (linux/bpf.h, BPF_DEVCG_ACC_MKNOD and so on).
const (
	Mknod Access = 1 << iota
	Read
	Write

	allAccess = Mknod | Read | Write
)

// String is the access as the files of version 1 spell it: "rwm".
func (a Access) String() string {
	var b strings.Builder
	for _, x := range []struct {
		bit    Access
		letter byte
	}{{Read, 'r'}, {Write, 'w'}, {Mknod, 'm'}} {
		if a&x.bit != 0 {
			b.WriteByte(x.letter)
		}
	}
	return b.String()
}

// anyNumber stands for every major or minor number.
const anyNumber = -1

// exception is what is not as the default is.
type exception struct {
	kind         DeviceType
	major, minor int64
	access       Access
}

// Devices is an ordered list of rules, boiled down to what the kernel keeps of it in version 1 (struct dev_cgroup in
// security/device_cgroup.c): a default, and exceptions from it. The zero Devices refuses everything.
type Devices struct {
	allow      bool // the default
	exceptions []exception
}

// DefaultDevices are the devices that every container may use, as runc has them: null, zero, full, random, urandom,
// tty, console, ptmx, the pts, and mknod of any. An engine puts them behind the rules of config.json.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		r := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
		if major != anyNumber {
			r.Major = &major
		}
		if minor != anyNumber {
			r.Minor = &minor
		}
		return r
	}
	return []specs.LinuxDeviceCgroup{
		rule("c", anyNumber, anyNumber, "m"), // a node that nobody may open does no harm
		rule("b", anyNumber, anyNumber, "m"),
		rule("c", 1, 3, "rwm"),           // null
		rule("c", 1, 5, "rwm"),           // zero
		rule("c", 1, 7, "rwm"),           // full
		rule("c", 1, 8, "rwm"),           // random
		rule("c", 1, 9, "rwm"),           // urandom
		rule("c", 5, 0, "rwm"),           // tty
		rule("c", 5, 1, "rwm"),           // console
		rule("c", 5, 2, "rwm"),           // ptmx
		rule("c", 136, anyNumber, "rwm"), // pts/*
	}
}

// CompileDevices applies rules in their order, as the kernel does in version 1, to a group that may use nothing. A
// rule of type "a", or none, with any number and all access begins anew with that as the default.
//
// Where version 1's files would do something else than the rule says, this does what it says, or fails. They take a
// rule of type "a" for all devices, whatever its numbers and access are: here it is one for "c" and one for "b". They
// ignore a rule that takes exceptions away unless it is of the same numbers: here it takes away all that it covers, and
// is an error if it covers a part of one, since what is left could not be said.
func CompileDevices(rules []specs.LinuxDeviceCgroup) (Devices, error) {
	var d Devices
	for i, r := range rules {
		field := fmt.Sprintf("%sdevices[%d]", resources, i)
		e, err := parseRule(r)
		if err != nil {
			return Devices{}, &FieldError{field, nil, fmt.Errorf("%w: %w", ErrInvalid, err)}
		}
		if e.kind == 0 && e == (exception{0, anyNumber, anyNumber, allAccess}) {
			d = Devices{allow: r.Allow}
			continue
		}
		kinds := []DeviceType{e.kind}
		if e.kind == 0 {
			kinds = []DeviceType{BlockDevice, CharDevice}
		}
		for _, e.kind = range kinds {
			if err := d.apply(e, r.Allow); err != nil {
				return Devices{}, &FieldError{field, e.String(), fmt.Errorf("%w: %w", ErrNotSupported, err)}
			}
		}
	}
	return d, nil
}

// parseRule reads a rule. Its kind is 0 for both.
func parseRule(r specs.LinuxDeviceCgroup) (exception, error) {
	e := exception{major: anyNumber, minor: anyNumber}
	switch r.Type {
	case "", "a":
	case "c", "u": // mknod(1) has u for an unbuffered character device
		e.kind = CharDevice
	case "b":
		e.kind = BlockDevice
	default:
		return e, fmt.Errorf("type %q, want a, b or c", r.Type)
	}
	for _, n := range []struct {
		name string
		from *int64
		to   *int64
		bits int
	}{{"major", r.Major, &e.major, 12}, {"minor", r.Minor, &e.minor, 20}} {
		if n.from == nil || *n.from == anyNumber {
			continue
		}
		if *n.from < 0 || *n.from >= 1<<n.bits {
			return e, fmt.Errorf("%s %d, want 0 to %d", n.name, *n.from, 1<<n.bits-1)
		}
		*n.to = *n.from
	}
	for _, letter := range r.Access {
		switch letter {
		case 'r':
			e.access |= Read
		case 'w':
			e.access |= Write
		case 'm':
			e.access |= Mknod
		default:
			return e, fmt.Errorf("access %q, want letters of rwm", r.Access)
		}
	}
	if e.access == 0 {
		if e.kind == 0 && e.major == anyNumber && e.minor == anyNumber {
			e.access = allAccess // {"allow": false} is how some write it
			return e, nil
		}
		return e, fmt.Errorf("no access, want letters of rwm")
	}
	return e, nil
}

// apply is devcgroup_update_access of the kernel: a rule like the default takes exceptions away, one unlike it adds
// one.
func (d *Devices) apply(e exception, allow bool) error {
	if allow != d.allow {
		d.add(e)
		return nil
	}
	return d.remove(e)
}

func (d *Devices) add(e exception) {
	for i := range d.exceptions {
		if d.exceptions[i].sameDevices(e) {
			d.exceptions[i].access |= e.access
			return
		}
	}
	d.exceptions = append(d.exceptions, e)
}

// remove takes away what was an exception.
func (d *Devices) remove(e exception) error {
	for _, x := range d.exceptions {
		if x.access&e.access != 0 && x.overlaps(e) && !e.covers(x) {
			return fmt.Errorf("cannot be taken out of %q, which is wider", x)
		}
	}
	d.exceptions = slices.DeleteFunc(d.exceptions, func(x exception) bool {
		return e.covers(x) && x.access&^e.access == 0
	})
	for i := range d.exceptions {
		if e.covers(d.exceptions[i]) {
			d.exceptions[i].access &^= e.access
		}
	}
	return nil
}

func (e exception) sameDevices(o exception) bool {
	return e.kind == o.kind && e.major == o.major && e.minor == o.minor
}

// covers tells whether all devices of o are among those of e.
func (e exception) covers(o exception) bool {
	return e.kind == o.kind && (e.major == anyNumber || e.major == o.major) && (e.minor == anyNumber || e.minor == o.minor)
}

// overlaps tells whether there is a device that is of both.
func (e exception) overlaps(o exception) bool {
	same := func(a, b int64) bool { return a == b || a == anyNumber || b == anyNumber }
	return e.kind == o.kind && same(e.major, o.major) && same(e.minor, o.minor)
}

// String is the exception as the files of version 1 take it: "c 1:3 rwm".
func (e exception) String() string {
	number := func(n int64) string {
		if n == anyNumber {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%c %s:%s %s", e.kind, number(e.major), number(e.minor), e.access)
}

// Equal tells whether both say the same. The order of exceptions makes no difference to the kernel. It is kept
// nevertheless: who reads devices.list finds the rules in the order in which they were given.
func (d Devices) Equal(o Devices) bool {
	return d.allow == o.allow && slices.Equal(d.sorted(), o.sorted())
}

func (d Devices) sorted() []exception {
	return slices.SortedFunc(slices.Values(d.exceptions), func(a, b exception) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
	})
}

// Evaluate is the kernel's verdict (devcgroup_legacy_check_permission in security/device_cgroup.c, and that of the
// program made by Program): where the default is to refuse, a single exception has to allow all of the access; where it
// is to allow, none may refuse any of it.
func (d Devices) Evaluate(kind DeviceType, major, minor int64, access Access) bool {
	wanted := exception{kind, major, minor, access}
	for _, x := range d.exceptions {
		if !x.covers(wanted) {
			continue
		}
		if d.allow && x.access&access != 0 || !d.allow && access&^x.access == 0 {
			return !d.allow
		}
	}
	return d.allow
}

// parseDeviceList reads devices.list. A group that allows all by default has one line, "a *:* rwm": the kernel does
// not tell its exceptions.
func parseDeviceList(text []byte) (Devices, error) {
	var d Devices
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return Devices{}, fmt.Errorf("devices.list: malformed line %q", line)
		}
		if fields[0] == "a" {
			return Devices{allow: true}, nil
		}
		major, minor, ok := strings.Cut(fields[1], ":")
		rule := specs.LinuxDeviceCgroup{Type: fields[0], Access: fields[2]}
		for _, n := range []struct {
			text string
			to   **int64
		}{{major, &rule.Major}, {minor, &rule.Minor}} {
			if n.text == "*" {
				continue
			}
			number, err := strconv.ParseInt(n.text, 10, 32)
			ok = ok && err == nil
			*n.to = &number
		}
		e, err := parseRule(rule)
		if !ok || err != nil || e.kind == 0 {
			return Devices{}, fmt.Errorf("devices.list: malformed line %q", line)
		}
		d.add(e)
	}
	return d, nil
}
