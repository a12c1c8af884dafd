package rootfs

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/container/child"
)

// BenchmarkUsual is a child in five namespaces that mounts what every container has, masks what podman masks, and ends. The
// one with nothing is what the child costs alone.
func BenchmarkUsual(b *testing.B) {
	root := busybox(b)
	spec := own(root, usual()...)
	spec.Masked = []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"}
	spec.ReadonlyAt = []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	for name, add := range map[string]func(*testing.B, *child.Program){
		"nothing": func(*testing.B, *child.Program) {},
		"usual": func(b *testing.B, p *child.Program) {
			x, err := New(spec)
			if err != nil {
				b.Fatal(err)
			}
			x.Prepare(p)
			x.Enter(p)
			x.Finish(p)
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := child.New()
				add(b, p)
				p.Exit(0)
				process, err := p.Start(child.Options{Namespaces: unix.CLONE_NEWNS | newAll&^unix.CLONE_NEWCGROUP})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := process.Next(b.Context()); !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
				if _, err := process.Wait(); err != nil {
					b.Fatal(err)
				}
				process.Close()
			}
		})
	}
}
