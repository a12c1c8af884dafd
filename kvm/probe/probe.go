package probe

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/kvm"
)

// How often and how long a loop runs. Interpreted, it still counts to
// thousands in a short slice, and the rates that have to be told apart are far
// apart.
const (
	quickSlices, quickSlice = 3, 1 * time.Millisecond
	doubtSlices, doubtSlice = 60, 5 * time.Millisecond // before a KVM is called too slow
	fullSlices, fullSlice   = 6, 5 * time.Millisecond
)

// Verdict is Quick's answer.
type Verdict struct {
	Linux   bool
	Because string // why not; one line, to show to the user
	Rate    float64
}

// Quick tells whether this host's KVM can run Linux. It never fails: a KVM
// that cannot be used cannot run Linux. It takes the time to make a VM and
// some milliseconds more; some hundred where the answer is that it is too slow.
func Quick() Verdict {
	var v Verdict
	v.Because = func() string {
		sys, err := kvm.Open()
		if err != nil {
			return describe(err)
		}
		defer sys.Close()
		g, err := newGuest(sys)
		if err != nil {
			return describe(err)
		}
		defer g.close()
		if v.Rate, err = g.rateOrEnough(kernelMode, MinLinuxRate); err != nil {
			return describe(err)
		}
		return reasonAgainst(true, "", v.Rate, nil)
	}()
	v.Linux = v.Because == ""
	return v
}

// Run finds out all that there is to tell. It never fails: what went wrong is
// in the report.
func Run() *Report {
	r := &Report{Devices: []Device{device("/dev/vhost-net"), device("/dev/vhost-vsock")}}
	if err := r.examine(); err != nil {
		r.Present, r.Problem = false, describe(err)
	}
	r.judge()
	return r
}

func (r *Report) examine() error {
	sys, err := kvm.Open()
	if err != nil {
		return err
	}
	defer sys.Close()
	r.Present = true
	r.Vendor, r.Module = vendor("/sys/module")
	if r.APIVersion, err = sys.APIVersion(); err != nil {
		return err
	}
	if r.Speed, r.Instructions, err = try(sys); err != nil {
		return err
	}
	r.Capabilities, err = capabilities(sys)
	return err
}

// try runs guests: the loops, then each instruction in one of its own, since
// a vCPU that failed once is not worth trusting.
func try(sys *kvm.System) (Speed, []Instruction, error) {
	var speed Speed
	for _, m := range []struct {
		mode mode
		rate *float64
	}{{kernelMode, &speed.Kernel}, {userMode, &speed.User}} {
		g, err := newGuest(sys)
		if err != nil {
			return speed, nil, err
		}
		*m.rate, err = g.rate(m.mode, fullSlices, fullSlice)
		g.close()
		if err != nil {
			return speed, nil, err
		}
	}
	var tried []Instruction
	for _, x := range instructions {
		g, err := newGuest(sys)
		if err != nil {
			return speed, nil, err
		}
		i := Instruction{Name: x.name, Offered: g.offers(x.features)}
		if i.Offered {
			i.Why, err = g.try(x.code)
			i.Works = err == nil && i.Why == ""
		}
		g.close()
		if err != nil {
			return speed, nil, err
		}
		tried = append(tried, i)
	}
	return speed, tried, nil
}

// capabilities asks a VM, whose answers are the truer ones.
func capabilities(sys *kvm.System) ([]Capability, error) {
	vm, err := sys.CreateVM()
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	var have []Capability
	for _, c := range kvm.Capabilities() {
		value, err := vm.Check(c)
		if err != nil {
			return nil, err
		}
		if value != 0 {
			have = append(have, Capability{Name: c.String(), Value: value})
		}
	}
	return have, nil
}

// vendor looks at which of KVM's vendor modules the kernel has; those built
// in are listed too, as they have parameters.
func vendor(modules string) (name, module string) {
	found, _ := filepath.Glob(filepath.Join(modules, "kvm_*"))
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	switch {
	case slices.Contains(found, "kvm_intel"):
		return VMX, "kvm_intel"
	case slices.Contains(found, "kvm_amd"):
		return SVM, "kvm_amd"
	}
	return Software, strings.Join(found, " ")
}

func device(path string) Device {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Device{Path: path, Why: cause(err)}
	}
	f.Close()
	return Device{Path: path, Present: true}
}

// cause leaves the path out of an error, where it is said already.
func cause(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// describe prints an error for a sentence of its own, without the package's name.
func describe(err error) string { return strings.TrimPrefix(err.Error(), "kvm: ") }
