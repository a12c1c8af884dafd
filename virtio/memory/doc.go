// Package memory is guest memory as a device sees it: the one checked way from a
// guest physical address (GPA) to bytes of this process.
//
//	guest physical addresses            this process
//
//	0            3 GiB   4 GiB    6 GiB
//	|== region ==|        |= region =|
//	      |                    |
//	      v                    v
//	   []byte               []byte        mappings made by the machine
//
// A [Region] is a run of guest physical addresses that one mapping backs. A [Space]
// is the set of them. Every address that a guest writes into a descriptor, a ring
// address register or a table goes through [Space.Slice] or [Space.Append], which
// refuse whatever does not lie wholly inside guest memory: the window of a device,
// the hole below 4 GiB, and lengths that wrap around.
//
// # Who else touches these bytes
//
// The guest does, at any moment, on other processors. Nothing that is read here may
// be read again after it was checked: copy a value into a variable, check the copy,
// use the copy. (Go's memory model promises that a variable that was loaded once is
// not loaded again behind the program's back.) Ordering between the guest and a
// device is the business of the ring, in package queue.
//
// Memory that another process gave us (behind vhost-user) can be taken away again: a
// file that is cut short leaves a mapping with nothing behind it, and a touch of that
// is a signal, SIGBUS, which ends a process. [MapShared] seals its file against it;
// code that uses somebody else's runs under [Guard].
//
// The race detector does not see mappings made by mmap, only Go's own heap. That is
// why tests that play the guest in another goroutine put the rings in a mapping
// ([Map]), as a machine does: the guest's side synchronises through the ring
// itself, which the detector could not follow.
package memory
