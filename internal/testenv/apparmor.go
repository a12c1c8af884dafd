package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// profiles tells the profiles of one process apart.
var profiles atomic.Int64

// LoadAppArmor loads a profile with these rules into AppArmor until the end of the test, and gives its name.
func LoadAppArmor(t testing.TB, rules string) string {
	t.Helper()
	Need(t, Root, AppArmor, AppArmorParser)
	name := fmt.Sprintf("tandem-test-%d-%d", os.Getpid(), profiles.Add(1))
	// attach_disconnected is for files that lie in no mount of a container's, such as its caller's terminal.
	text := fmt.Sprintf("profile %s flags=(attach_disconnected,mediate_deleted) {\n%s}\n", name, rules)
	parse := func(action string) {
		cmd := exec.Command("apparmor_parser", action, "--skip-cache")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apparmor_parser %s: %v: %s", action, err, out)
		}
	}
	parse("--add")
	t.Cleanup(func() { parse("--remove") })
	return name
}

// checkAppArmor wants the security module, and its files that profiles are loaded by.
func checkAppArmor() error {
	const switchedOn, load = "/sys/module/apparmor/parameters/enabled", "/sys/kernel/security/apparmor/.load"
	text, err := os.ReadFile(switchedOn)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(text), "Y") {
		return errors.New(switchedOn + " is " + strings.TrimSpace(string(text)))
	}
	return checkFile(load)()
}
