package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/kvm"
	"tandem/virtio/queue"
	"tandem/virtio/stamp"
	"tandem/vmm/bus"
)

func TestParseSet(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Set
		out  string
	}{
		{"kvm", KVM, "kvm"},
		{"exits,kvm,exits", KVM | Exits, "kvm,exits"},
		{"all", All, "kvm,exits,bus,virtio"},
		{"virtio,bus", Bus | Virtio, "bus,virtio"},
	} {
		got, err := ParseSet(test.in)
		if err != nil || got != test.want || got.String() != test.out {
			t.Errorf("ParseSet(%q) = %v, %v, want %v", test.in, got, err, test.out)
		}
	}
	for _, bad := range []string{"", "kvm,", "KVM", "kvm,exit", "kvm exits"} {
		if _, err := ParseSet(bad); !errors.Is(err, ErrKind) {
			t.Errorf("ParseSet(%q) = %v, want ErrKind", bad, err)
		}
	}
	if _, err := ParseFormat("xml"); !errors.Is(err, ErrFormat) {
		t.Errorf("ParseFormat = %v, want ErrFormat", err)
	}
	if f, err := ParseFormat("json"); err != nil || f != JSON {
		t.Errorf("ParseFormat = %v, %v", f, err)
	}
}

// Off means that nobody has anything to call.
func TestOff(t *testing.T) {
	var none *Tracer
	for _, tracer := range []*Tracer{none, New(io.Discard, 0, Text)} {
		if tracer.KVM() != nil || tracer.CPU(0) != nil || tracer.Bus("pio") != nil || tracer.Queues("disk0") != nil ||
			tracer.Stamps("net0") != nil {
			t.Error("a kind that is off has a recorder")
		}
		tracer.Unseen("net0", "call sent", errors.New("no"))
		tracer.Report("disk0", errors.New("broken"))
		if len(tracer.Table()) != 0 {
			t.Errorf("table = %v", tracer.Table())
		}
	}
	if err := none.WriteTable(io.Discard); err != nil {
		t.Error(err)
	}
}

// record makes one event of each kind, with times that are known.
func makeEvents(tracer *Tracer) {
	at := tracer.start.Add(time.Second)
	call := kvm.Call{Object: "vm", Request: kvm.RequestRun, Result: 3, Start: at, Duration: 2 * time.Microsecond}
	tracer.KVM()(call)
	call.Err = errors.New("no such device")
	tracer.KVM()(call)
	cpu := tracer.CPU(2)
	exit := &kvm.IO{Port: 0x3F8, Size: 1, Count: 1, Data: []byte{0x41}}
	cpu.Left(exit, at, at.Add(5*time.Microsecond))
	cpu.Handled(exit)
	cpu.Left(nil, at, at.Add(time.Millisecond))
	b := tracer.Bus("pio")
	b(bus.Access{Device: "com1", Addr: 0x3F8, Data: []byte{0x41}, Write: true})
	b(bus.Access{Addr: 0x1234, Data: []byte{0xFF, 0xFF}})
	q := tracer.Queues("disk0")
	q.Observe(queue.Event{Stage: queue.KickSeen, Queue: 1, Index: 5, Length: 2})
	q.Observe(queue.Event{Stage: queue.ChainPopped, Queue: 1, Head: 7, Index: 4, Length: 512})
	tracer.Flush()
	tracer.Report("disk0", errors.New("broken ring"))
	kernel := tracer.Stamps("net0")
	sent := stamp.Stamp{Time: stamp.Now(), Event: queue.Event{Stage: queue.FrameSent, Queue: 1, Head: 3, Index: 9, Length: 76}}
	kernel(sent, true)
	kernel(sent, false)
	kernel(stamp.Stamp{Time: stamp.Now(), Event: queue.Event{Stage: queue.WorkerWoken}}, false)
	tracer.Unseen("net0", "chain popped", errors.New("no kprobes"))
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	makeEvents(New(&out, All, Text))
	want := []string{
		"kvm    vm: KVM_RUN() = 3 <2µs>",
		"kvm    vm: KVM_RUN() = no such device <2µs>",
		"exit   vcpu 2: IO out port 0x3f8 size 1 data 41 <guest 5µs>",
		"exit   vcpu 2: interrupted <guest 1ms>",
		"bus    pio com1: write 0x3f8 = 41",
		"bus    pio (nobody): read 0x1234 = ff ff",
		"virtio disk0 queue 1: kick seen index 5, 2 waiting",
		"virtio disk0 queue 1: chain popped head 7 index 4 length 512",
		"virtio disk0: broken ring",
		"virtio net0 queue 1: frame sent head 3 index 9 length 76",
		"virtio net0 queue 1: frame sent length 76",
		"virtio net0 queue 0: worker woken for a kick or a frame",
		"virtio net0: not to be seen: chain popped: no kprobes",
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range lines {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if text != want[i] {
			t.Errorf("line %d = %q, want %q", i+1, text, want[i])
		}
	}
	if !strings.HasPrefix(lines[0], "   1.000002 ") {
		t.Errorf("%q: want the time when the call returned", lines[0])
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	tracer := New(&out, All, JSON)
	makeEvents(tracer)
	if err := tracer.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if table, ok := r["table"]; ok {
			if n := len(table.([]any)); n < 9 {
				t.Errorf("the table has %d rows", n)
			}
			continue
		}
		kinds = append(kinds, r["kind"].(string))
		switch r["name"] {
		case "IO out":
			if r["object"] != "vcpu 2" || r["ns"] != 5000.0 {
				t.Errorf("exit = %v", r)
			}
		case "KVM_RUN":
			if _, failed := r["error"]; failed == (r["result"] != nil) {
				t.Errorf("call = %v", r)
			}
		}
	}
	if got := strings.Join(kinds, " "); got != "kvm kvm exit exit bus bus virtio virtio virtio virtio virtio virtio virtio" {
		t.Errorf("kinds = %s", got)
	}
}

func TestTable(t *testing.T) {
	tracer := New(io.Discard, All, None)
	makeEvents(tracer)
	makeEvents(tracer)
	rows := map[string]Row{}
	for _, r := range tracer.Table() {
		rows[r.Kind+" "+r.Name] = r
	}
	for name, want := range map[string]Row{
		"kvm KVM_RUN":               {Count: 4, Total: 8 * time.Microsecond, Most: 2 * time.Microsecond},
		"guest IO out":              {Count: 2, Total: 10 * time.Microsecond, Most: 5 * time.Microsecond},
		"guest interrupted":         {Count: 2, Total: 2 * time.Millisecond, Most: time.Millisecond},
		"bus pio com1 write":        {Count: 2},
		"bus pio (nobody) read":     {Count: 2},
		"virtio disk0 chain popped": {Count: 2},
		"virtio disk0 error":        {Count: 2},
		"virtio net0 frame sent":    {Count: 4},

		"virtio net0 not to be seen: chain popped": {Count: 2},
	} {
		got := rows[name]
		if got.Count != want.Count || got.Total != want.Total || got.Most != want.Most {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if got := rows["exit IO out"]; got.Count != 2 {
		t.Errorf("exit IO out: %+v", got)
	}
	var text strings.Builder
	if err := tracer.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "guest   IO out                                    2         10µs          5µs          5µs\n") {
		t.Errorf("table:\n%s", text.String())
	}
}

// Lines of several vCPUs stay whole.
func TestConcurrent(t *testing.T) {
	var out bytes.Buffer
	tracer := New(&out, All, Text)
	var cpus sync.WaitGroup
	for id := range 4 {
		c, b := tracer.CPU(id), tracer.Bus("mmio")
		cpus.Go(func() {
			exit := &kvm.MMIO{GPA: 0xC0000000, Write: true, Data: []byte{1, 2, 3, 4}}
			for range 100 {
				now := time.Now()
				c.Left(exit, now, now)
				b(bus.Access{Device: "disk0", Addr: exit.GPA, Data: exit.Data, Write: true})
				c.Handled(exit)
			}
		})
	}
	cpus.Wait()
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "gpa 0xc0000000 size 4 data 01 02 03 04 <guest 0s>\n") && !strings.Contains(line, "mmio disk0: write 0xc0000000 = 01 02 03 04\n") {
			t.Fatalf("broken line %q", line)
		}
	}
	for _, r := range tracer.Table() {
		if r.Count != 400 {
			t.Errorf("%s %s: %d, want 400", r.Kind, r.Name, r.Count)
		}
	}
}
