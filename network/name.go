package network

import (
	"fmt"
	"regexp"
)

var (
	idForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	bridgeForm = regexp.MustCompile(`^tandem[A-Za-z0-9_-]{1,9}$`)
)

func checkID(id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("ID %q: want up to 128 letters, digits, '_', '.', '-', the first no sign", id)
	}
	return nil
}

// checkBridgeName wants names that tell whose they are: whatever on a host begins so is tandem's to collect.
func checkBridgeName(name string) error {
	if !bridgeForm.MatchString(name) {
		return fmt.Errorf("bridge %q: want tandem and 1 to 9 letters, digits, '_', '-'", name)
	}
	return nil
}
