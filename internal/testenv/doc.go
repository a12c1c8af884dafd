// Package testenv tells a test what its host has.
//
// tandem's tests ask much of a machine: root, a KVM that is fast enough for Linux, vhost, one or the other cgroup
// hierarchy, fentry. No machine has it all, so every test names what it needs, at its start:
//
//	func TestBoot(t *testing.T) {
//		testenv.Need(t, testenv.KVMLinux, testenv.GuestKernel)
//
// and is skipped with `need <name>: <reason>` where that is missing. The suite runs in two places, which together have
// everything, and the names let the runner (internal/hostlab) hold the two runs side by side:
//
//	             host                       lab
//	TestBoot     skip, need kvm-linux       pass
//	TestOverlay  pass                       -          (only what was skipped runs again)
//	TestFlow     skip, need fentry          skip, need vhost-net    <- fails the whole run
//
// So no test is skipped everywhere without anybody seeing it. That holds only if this package alone calls t.Skip; a
// test in internal/lint sees to it.
//
// A requirement is probed by doing the thing, where that is cheap: /dev/kvm is opened, a namespace is made, a guest
// of nine bytes runs and is timed. It is probed once a process, on first use.
//
// The other half of the package is Main, for a package's TestMain: it compares what the host holds before and after
// the tests, and fails the package for what they left behind.
package testenv
