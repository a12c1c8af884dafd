// Package acpi builds the ACPI tables that describe the machine to its guest.
package acpi
