package probe

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// MinLinuxRate is how many kernel mode instructions a second a KVM has to
// run. A distribution's kernel boots some hundred million of them.
const MinLinuxRate = 20e6

// Vendors, as Report.Vendor names what is behind /dev/kvm.
const (
	VMX      = "vmx"      // Intel's virtualization extensions
	SVM      = "svm"      // AMD's
	Software = "software" // neither
)

// Report is what Run found out. The fields from APIVersion on are meaningful
// only if Present.
type Report struct {
	Present bool   `json:"present"` // /dev/kvm can be opened and used
	Problem string `json:"problem,omitempty"`

	APIVersion   int           `json:"api_version,omitempty"`
	Vendor       string        `json:"vendor,omitempty"`
	Module       string        `json:"module,omitempty"` // the kernel module for it, "kvm_amd"
	Speed        Speed         `json:"speed"`
	Instructions []Instruction `json:"instructions,omitempty"`
	Capabilities []Capability  `json:"capabilities,omitempty"`
	Devices      []Device      `json:"devices"`

	Linux   bool   `json:"linux"`             // it can run Linux
	Because string `json:"because,omitempty"` // why it cannot
}

// Speed is instructions a second, of a loop of two.
type Speed struct {
	Kernel float64 `json:"kernel"` // at CPL 0
	User   float64 `json:"user"`   // at CPL 3; 0 if not measured
}

// interpretedRatio is how much faster user mode is than kernel mode where the
// one runs on the CPU and the other in an interpreter: hundreds. Where both
// run alike it is near 1.
const interpretedRatio = 10

// KernelInterpreted tells whether guest kernel mode is interpreted while user
// mode is not.
func (s Speed) KernelInterpreted() bool {
	return s.User > interpretedRatio*s.Kernel
}

// Instruction is one that was tried in guest kernel mode.
type Instruction struct {
	Name    string `json:"name"`
	Offered bool   `json:"offered"` // in the CPUID that this host gives its guests
	Works   bool   `json:"works"`
	Why     string `json:"why,omitempty"` // the exit that it made instead
}

// Capability is one that the host has.
type Capability struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// Device is a file under /dev that data paths of a VM need.
type Device struct {
	Path    string `json:"path"`
	Present bool   `json:"present"`
	Why     string `json:"why,omitempty"`
}

// judge fills in Linux and Because from the rest.
func (r *Report) judge() {
	r.Because = reasonAgainst(r.Present, r.Problem, r.Speed.Kernel, r.Instructions)
	r.Linux = r.Because == ""
}

func reasonAgainst(present bool, problem string, kernelRate float64, tried []Instruction) string {
	switch {
	case !present:
		return problem
	case kernelRate < MinLinuxRate:
		return fmt.Sprintf("guest kernel mode runs %s, Linux needs %s", rate(kernelRate), rate(MinLinuxRate))
	}
	for _, i := range tried {
		if i.Offered && !i.Works { // without the bit in CPUID, Linux does without
			return fmt.Sprintf("%s fails in guest kernel mode: %s", i.Name, i.Why)
		}
	}
	return ""
}

// WriteText writes the report for people to read.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Present {
		row("kvm", "present, API version %d", r.APIVersion)
		row("behind it", "%s", r.behind())
		row("guest kernel mode", "%s", r.kernelMode())
		row("guest user mode", "%s", rate(r.Speed.User))
		for _, i := range r.Instructions {
			row("  "+i.Name, "%s", i.text())
		}
	} else {
		row("kvm", "not usable: %s", r.Problem)
	}
	for _, d := range r.Devices {
		row(d.Path, "%s", present(d.Present, d.Why))
	}
	row("runs Linux", "%s", yes(r.Linux, r.Because))
	if len(r.Capabilities) > 0 {
		t.Flush() // the columns of the next table are its own
		fmt.Fprintln(t)
		row("capability", "value")
		for _, c := range r.Capabilities {
			row(strings.TrimPrefix(c.Name, "KVM_CAP_"), "%d", c.Value)
		}
	}
	return t.Flush()
}

func (r *Report) behind() string {
	if r.Module == "" {
		return r.Vendor
	}
	return fmt.Sprintf("%s (%s)", r.Vendor, r.Module)
}

func (r *Report) kernelMode() string {
	s := rate(r.Speed.Kernel)
	if r.Speed.KernelInterpreted() {
		s += ", interpreted"
	}
	return s
}

func (i Instruction) text() string {
	switch {
	case !i.Offered:
		return "not offered in CPUID"
	case i.Works:
		return "works"
	}
	return "fails: " + i.Why
}

func present(ok bool, why string) string {
	if ok {
		return "present"
	}
	return "missing: " + why
}

func yes(ok bool, why string) string {
	if ok {
		return "yes"
	}
	return "no: " + why
}

// rate prints instructions a second with two digits that count.
func rate(perSecond float64) string {
	switch {
	case perSecond >= 1e9:
		return fmt.Sprintf("%.1f billion instructions/s", perSecond/1e9)
	case perSecond >= 1e8:
		return fmt.Sprintf("%.0f million instructions/s", perSecond/1e6)
	}
	return fmt.Sprintf("%.1f million instructions/s", perSecond/1e6)
}
