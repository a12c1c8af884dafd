package main

import (
	"errors"
	"fmt"

	"tandem/vmm"
)

// specFlags names the flag behind each of the spec's fields that a user can get wrong.
var specFlags = map[string]string{"CPUs": "cpus", "Memory": "memory", "HugePages": "hugepages", "Devices": "disk"}

// specFlagError says the flag in place of the spec's field, which its user has not heard of.
func specFlagError(err error) error {
	var field *vmm.FieldError
	if !errors.As(err, &field) {
		return err
	}
	flag, ok := specFlags[field.Field]
	if !ok {
		return err
	}
	return flagError(flag, fmt.Sprint(field.Value), field.Reason)
}
