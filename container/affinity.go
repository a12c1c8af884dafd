package container

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// maxCPUs is the most that the kernel can be built for on this architecture (arch/x86/Kconfig, NR_CPUS_RANGE_END).
const maxCPUs = 8192

// affinity is which CPUs a process started in a container later may run on (config.md, execCPUAffinity): at first, when it
// is not in the container's cgroup yet, and then. Nil leaves it to the kernel.
type affinity struct{ initial, final bitSet }

func parseAffinity(a *specs.CPUAffinity) (out affinity, err error) {
	if a == nil {
		return out, nil
	}
	if out.initial, err = parseNumbers(a.Initial, maxCPUs); err != nil {
		return out, invalid("process.execCPUAffinity.initial %q: %v", a.Initial, err)
	}
	if out.final, err = parseNumbers(a.Final, maxCPUs); err != nil {
		return out, invalid("process.execCPUAffinity.final %q: %v", a.Final, err)
	}
	return out, nil
}

// startOn comes before the process joins the cgroup. A process that enters a cpuset may run on all of its CPUs that its own
// list has too, or, in version 1, simply on all of them: so this bounds what it does meanwhile, such as waking up a CPU that
// is isolated for somebody's sake.
func (a affinity) startOn(p *child.Program, shown *specs.CPUAffinity) {
	if a.initial != nil {
		p.Phase("choose the CPUs to begin on")
		a.set(p, a.initial, shown.Initial, "execCPUAffinity.initial: until it is in the container's cgroup")
	}
}

// goOn comes after that.
func (a affinity) goOn(p *child.Program, shown *specs.CPUAffinity) {
	if a.final != nil {
		p.Phase("choose the CPUs to run on")
		a.set(p, a.final, shown.Final, "execCPUAffinity.final: those of them that the cgroup allows")
	}
}

func (affinity) set(p *child.Program, cpus bitSet, list, why string) {
	p.Call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, "CPUs "+list, why, child.Int("pid", 0), child.Int("size", len(cpus)),
		p.Bytes("mask", cpus, list))
}
