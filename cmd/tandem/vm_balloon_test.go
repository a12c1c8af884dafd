package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"tandem/cmd/tandem/internal/machine"
	"tandem/internal/testenv"
	"tandem/virtio/balloon"
)

// vmBalloon asks for the state of a VM's balloon.
func vmBalloon(t *testing.T, args ...string) (info machine.BalloonInfo) {
	t.Helper()
	got := finish(t, exec.Command(testenv.Tandem(t), append([]string{"vm", "balloon", "--json"}, args...)...))
	if got.status != 0 {
		t.Fatalf("tandem vm balloon %q: %+v", args, got)
	}
	if err := json.Unmarshal([]byte(got.stdout), &info); err != nil {
		t.Fatal(err)
	}
	return info
}

// awaitBalloon waits until the balloon is as it should be.
func awaitBalloon(t *testing.T, name, what string, ok func(*machine.BalloonInfo) bool) machine.BalloonInfo {
	t.Helper()
	for deadline := time.Now().Add(guestLimit / 2); ; time.Sleep(100 * time.Millisecond) {
		info := vmBalloon(t, name)
		if ok(&info) {
			return info
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, info)
		}
	}
}

// TestVMBalloon takes memory from a guest, which the host then has, and gives it back; frees memory in the guest, which
// the host gets without asking; and has the guest run out of memory, upon which it takes some back itself.
func TestVMBalloon(t *testing.T) {
	needGuests(t)
	const mib = 1 << 20
	name := fmt.Sprintf("balloon-%d", os.Getpid())
	cmd := vmRunCommand(t, "--accel", "kvm", "--name", name, "--memory", "512M", "--balloon", "16M", "--", "sh", "-c", `
		echo up
		read line; dd if=/dev/zero of=/filled bs=1M count=150 2>/dev/null; echo filled
		read line; rm /filled; echo freed
		read line; dd if=/dev/zero of=/dev/null bs=320M count=1 2>/dev/null && echo survived
		read line; exit 5`)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	expectLine := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); line != want+"\n" {
			t.Fatalf("the guest said %q, %v, want %q", line, err, want)
		}
	}
	goOn := func() {
		t.Helper()
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
	}
	expectLine("up")
	atFirst := awaitBalloon(t, name, "the balloon of --balloon", func(i *machine.BalloonInfo) bool { return i.Actual == 16*mib })
	if total := atFirst.Statistics.Values[balloon.TotalMemory]; total < 300*mib || total > 512*mib {
		t.Errorf("the guest says that it has %d bytes", total)
	}
	goOn()
	expectLine("filled")
	full := vmBalloon(t, name)
	if full.Resident < atFirst.Resident+100*mib {
		t.Errorf("150 MiB in the guest took the host from %d to %d bytes", atFirst.Resident, full.Resident)
	}
	goOn()
	expectLine("freed")
	reported := awaitBalloon(t, name, "free pages", func(i *machine.BalloonInfo) bool { return i.Resident < full.Resident-100*mib })
	if reported.Reported-full.Reported < 100*mib || reported.Actual != 16*mib {
		t.Errorf("after 150 MiB were freed: %+v", reported)
	}

	vmBalloon(t, name, "--set", "200M")
	inflated := awaitBalloon(t, name, "--set 200M", func(i *machine.BalloonInfo) bool { return i.Actual == 200*mib })
	if inflated.Inflated < 200*mib || inflated.Failed+inflated.Refused != 0 {
		t.Errorf("with 200 MiB in the balloon: %+v", inflated)
	}
	if now, then := inflated.Statistics.Values[balloon.AvailableMemory], reported.Statistics.Values[balloon.AvailableMemory]; now > then-150*mib {
		t.Errorf("the guest had %d bytes to use before, and has %d", then, now)
	}
	goOn()
	expectLine("survived")
	if after := vmBalloon(t, name); after.Target != 200*mib || after.Actual >= 200*mib {
		t.Errorf("after the guest ran out of memory: %+v", after)
	}
	vmBalloon(t, name, "--set", "0")
	awaitBalloon(t, name, "--set 0", func(i *machine.BalloonInfo) bool { return i.Actual == 0 && i.Deflated >= i.Inflated })
	goOn()
	_ = cmd.Wait() // the status is looked at
	if status := cmd.ProcessState.ExitCode(); status != 5 {
		t.Errorf("status %d, want 5", status)
	}
}
