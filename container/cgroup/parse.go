package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// The formats of the kernel's files (cgroup-v2.rst, "Format"; version 1 has the same ones).

// parseFlat reads lines of "KEY VALUE". Values that are no numbers are an error, but for "max".
func parseFlat(text string) (map[string]uint64, error) {
	fields := make(map[string]uint64)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		key, value, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		n, err := parseUint(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		fields[key] = n
	}
	return fields, nil
}

// DeviceNumber is a block device, as "MAJOR:MINOR".
type DeviceNumber struct{ Major, Minor uint64 }

// String is the number as the kernel prints it.
func (d DeviceNumber) String() string { return fmt.Sprintf("%d:%d", d.Major, d.Minor) }

// MarshalText makes it a key in JSON.
func (d DeviceNumber) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it back.
func (d *DeviceNumber) UnmarshalText(text []byte) error {
	number, err := parseDevice(string(text))
	*d = number
	return err
}

func parseDevice(text string) (DeviceNumber, error) {
	major, minor, ok := strings.Cut(text, ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return DeviceNumber{}, fmt.Errorf("malformed device number %q", text)
	}
	return DeviceNumber{ma, mi}, nil
}

// parseNested reads lines of "MAJOR:MINOR KEY=VALUE KEY=VALUE...", as in io.stat. Keys with values that are no whole
// numbers, which io.cost adds, are left out. Linux before 6.3 now and then has a device without values.
func parseNested(text string) (map[DeviceNumber]map[string]uint64, error) {
	devices := make(map[DeviceNumber]map[string]uint64)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		device, err := parseDevice(words[0])
		if err != nil {
			return nil, err
		}
		for _, word := range words[1:] {
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				// Two devices on one line: the kernel wrote the first one's number and found that it has nothing to
				// say.
				if device, err = parseDevice(word); err != nil {
					return nil, fmt.Errorf("malformed line %q", line)
				}
				continue
			}
			n, err := parseUint(value)
			if err != nil {
				continue
			}
			if devices[device] == nil {
				devices[device] = make(map[string]uint64)
			}
			devices[device][key] = n
		}
	}
	return devices, nil
}

// parseBlkio reads lines of "MAJOR:MINOR OPERATION VALUE" and a last one of "Total VALUE", which is left out, like the
// totals of each device.
func parseBlkio(text string) (map[DeviceNumber]map[string]uint64, error) {
	devices := make(map[DeviceNumber]map[string]uint64)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) != 3 || words[1] == "Total" {
			continue
		}
		device, err := parseDevice(words[0])
		if err != nil {
			return nil, err
		}
		n, err := parseUint(words[2])
		if err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
		if devices[device] == nil {
			devices[device] = make(map[string]uint64)
		}
		devices[device][words[1]] = n
	}
	return devices, nil
}

// Pressure is the share of time in which processes waited for a resource (Documentation/accounting/psi.rst): some of
// them, or all that had something to do.
type Pressure struct {
	Some PressureLine `json:"some"`
	Full PressureLine `json:"full"`
}

// PressureLine has averages over seconds, in percent, and the total in microseconds.
type PressureLine struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

func parsePressure(text string) (*Pressure, error) {
	var p Pressure
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var into *PressureLine
		switch words[0] {
		case "some":
			into = &p.Some
		case "full":
			into = &p.Full
		default:
			continue // of a kernel to come
		}
		if err := into.parse(words[1:]); err != nil {
			return nil, fmt.Errorf("malformed line %q", line)
		}
	}
	return &p, nil
}

func (p *PressureLine) parse(words []string) (err error) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "avg10":
			p.Avg10, err = strconv.ParseFloat(value, 64)
		case "avg60":
			p.Avg60, err = strconv.ParseFloat(value, 64)
		case "avg300":
			p.Avg300, err = strconv.ParseFloat(value, 64)
		case "total":
			p.Total, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseCPUs reads a list such as "0-3,7" into its numbers.
func parseCPUs(list string) ([]uint16, error) {
	var numbers []uint16
	list = strings.TrimSpace(list)
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, err1 := strconv.ParseUint(first, 10, 16)
		high, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || high < low || len(numbers) > 0 && low <= uint64(numbers[len(numbers)-1]) {
			return nil, fmt.Errorf("malformed list %q", list) // the kernel's are in order
		}
		for n := low; n <= high; n++ {
			numbers = append(numbers, uint16(n))
		}
	}
	return numbers, nil
}

// parseNumber reads a file of one number.
func parseNumber(text string) (uint64, error) { return parseUint(strings.TrimSuffix(text, "\n")) }

func parseInt(text string) (int64, error) {
	return strconv.ParseInt(strings.TrimSuffix(text, "\n"), 10, 64)
}
