package testenv

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// skipper is a testing.TB that remembers why it was skipped.
type skipper struct {
	testing.TB
	reason string
}

func (s *skipper) Helper() {}

func (s *skipper) Skipf(format string, args ...any) {
	s.reason = fmt.Sprintf(format, args...)
}

func TestNeedNamesWhatIsMissing(t *testing.T) {
	probes := 0
	missing := requirement("time-machine", func() error {
		probes++
		return errors.Join(errors.New("no flux"), errors.New("no capacitor"))
	})
	present := requirement("clock", func() error { return nil })

	s := &skipper{TB: t}
	Need(s, present)
	if s.reason != "" {
		t.Errorf("Need(present) skipped with %q", s.reason)
	}
	for range 2 {
		Need(s, present, missing)
		if want := "need time-machine: no flux no capacitor"; s.reason != want {
			t.Errorf("Need(missing) skipped with %q, want %q", s.reason, want)
		}
	}
	if probes != 1 {
		t.Errorf("probed %d times, want once", probes)
	}
}

// TestRequirements shows what this host has, and holds what one requirement says of another.
func TestRequirements(t *testing.T) {
	for _, r := range []*Requirement{
		Root, NetNS, MountNS, UserNS, IDMap, Cgroup1, Cgroup2, Overlay, UserXattr, NineP, TUN, HugePages, LoopDevice, KVM, KVMLinux,
		VHostNet, VHostVsock, BTF, Fentry, Kprobes, IA32, GCC, LibSeccomp, LinuxUAPI, IASL, CPIO, Strace, APT, Curl, IPerf3, QEMU, QEMUStorageDaemon, DPDK, Virtiofsd, Busybox,
		GoToolchain, Runc, Crun, Podman, Containerd, GuestKernel, LabKernel, Lab, NotLab,
	} {
		if r.Name() != strings.ToLower(r.Name()) || strings.ContainsAny(r.Name(), " :") {
			t.Errorf("requirement %q: want one word in small letters", r.Name())
		}
		if err := r.Missing(); err != nil {
			t.Logf("%-12s %v", r.Name(), err)
		} else {
			t.Logf("%-12s yes", r.Name())
		}
	}
	for _, pair := range [][2]*Requirement{{KVMLinux, KVM}, {Fentry, BTF}, {Lab, QEMU}, {Lab, LabKernel}} {
		if whole, part := pair[0], pair[1]; Has(whole) && !Has(part) {
			t.Errorf("host has %s without %s", whole.Name(), part.Name())
		}
	}
}

func TestKernelModeRate(t *testing.T) {
	Need(t, KVM)
	rate, err := kernelModeRate()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f million instructions a second", rate/1e6)
	if rate < 1e4 || rate > 1e11 {
		t.Errorf("kernelModeRate() = %g instructions a second, no processor does that", rate)
	}
}

func TestTandem(t *testing.T) {
	Need(t, GoToolchain)
	out, err := exec.Command(Tandem(t), "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "tandem ") {
		t.Errorf("tandem version printed %q, %v", out, err)
	}
}
