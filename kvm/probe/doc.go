// Package probe finds out what KVM on this host can do, and whether it can
// run Linux.
//
// A /dev/kvm that opens is not yet a KVM to boot Linux on. There are KVMs
// without hardware behind them, and they run a guest's user mode as it is but
// interpret its kernel mode, an instruction at a time. Nothing in the
// interface says so: the capabilities are the same. What tells is a clock. A
// guest of two instructions runs around in kernel mode, then in user mode, for
// a few milliseconds each, and counts:
//
//	                    CPL 0                CPL 3
//	VMX, SVM            10^9 a second        10^9 a second
//	nested in TCG       10^8                 10^8
//	interpreted         10^6                 10^9
//	                      |
//	                      +-- below MinLinuxRate no one waits for a boot
//
// The guest is stopped by VCPU.Kick, so that the time is bounded whatever the
// host turns out to be, and it is CPU time of the vCPU's thread, so that a
// busy host does not look like a slow KVM.
//
// Interpreters also lack instructions, and a guest that meets one ends with
// KVM_EXIT_INTERNAL_ERROR. Those that Linux needs in its kernel mode are tried
// one by one: FXSAVE, XSAVE, the x87, CMPXCHG16B.
//
// Quick measures only what decides whether to use this KVM, in some
// milliseconds; Run gives the whole Report.
package probe
