package cgroup

import (
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const ioField = resources + "blockIO."

// io resolves the specification's section "Block IO".
func (v *resolver) io(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	before := len(v.errs)
	v.checkWeight(ioField+"weight", b.Weight)
	v.checkWeight(ioField+"leafWeight", b.LeafWeight)
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("%sweightDevice[%d]", ioField, i)
		v.checkDevice(field, d.LinuxBlockIODevice)
		v.checkWeight(field+".weight", d.Weight)
		v.checkWeight(field+".leafWeight", d.LeafWeight)
		if d.Weight == nil && d.LeafWeight == nil {
			v.bad(field, nil, "neither weight nor leafWeight")
		}
	}
	throttles := throttles(b)
	for _, t := range throttles {
		for i, d := range t.devices {
			v.checkDevice(fmt.Sprintf("%s%s[%d]", ioField, t.name, i), d.LinuxBlockIODevice)
		}
	}
	if len(v.errs) > before {
		return
	}
	v.weights(b)
	for _, t := range throttles {
		v.throttle(t)
	}
}

// checkWeight allows 0, for a field left out.
func (v *resolver) checkWeight(field string, weight *uint16) {
	if weight != nil && *weight != 0 && (*weight < minBlkio || *weight > maxBlkio) {
		v.bad(field, *weight, fmt.Sprintf("from %d to %d", minBlkio, maxBlkio))
	}
}

// checkDevice holds numbers to a dev_t's 12 and 20 bits (linux/kdev_t.h).
func (v *resolver) checkDevice(field string, d specs.LinuxBlockIODevice) {
	if d.Major < 0 || d.Major >= 1<<12 || d.Minor < 0 || d.Minor >= 1<<20 {
		v.bad(field, fmt.Sprintf("%d:%d", d.Major, d.Minor), "no device number")
	}
}

const noCFQ = "it was of the CFQ scheduler, gone since Linux 5.0"

func (v *resolver) weights(b *specs.LinuxBlockIO) {
	if b.Weight != nil && *b.Weight != 0 {
		v.weight(ioField+"weight", "", *b.Weight)
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		v.leafWeight(ioField+"leafWeight", "blkio.leaf_weight", "", *b.LeafWeight)
	}
	for i, d := range b.WeightDevice {
		field, number := fmt.Sprintf("%sweightDevice[%d].", ioField, i), fmt.Sprintf("%d:%d ", d.Major, d.Minor)
		if d.Weight != nil && *d.Weight != 0 {
			v.weight(field+"weight", number, *d.Weight)
		}
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			v.leafWeight(field+"leafWeight", "blkio.leaf_weight_device", number, *d.LeafWeight)
		}
	}
}

// weight is a file of the I/O scheduler's: there are several, and a host has one or none of them.
func (v *resolver) weight(field, device string, weight uint16) {
	const lacking = "the I/O scheduler has no weights (BFQ has, or io.cost)"
	value := device + strconv.Itoa(int(weight))
	s := setting{
		controller: "blkio", field: field, value: value, lacking: lacking,
		why: "weight of its reads and writes where a disk is busy",
	}
	switch s.version = v.version("blkio", "io", field); s.version {
	case 0:
		return
	case 1:
		s.file, s.or = "blkio.bfq.weight", []alternative{{"blkio.weight", value}}
		if device != "" {
			s.file, s.or = "blkio.bfq.weight_device", []alternative{{"blkio.weight_device", value}}
		}
	case 2:
		s.controller = "io"
		s.file = "io.bfq.weight"
		s.or = []alternative{{"io.weight", device + strconv.FormatUint(blkioToWeight(weight), 10)}}
	}
	v.add(s)
}

func (v *resolver) leafWeight(field, file, device string, weight uint16) {
	switch v.version("blkio", "io", field) {
	case 1:
		v.add(setting{
			version: 1, controller: "blkio", file: file, value: device + strconv.Itoa(int(weight)), field: field,
			lacking: noCFQ, why: "weight of its own processes beside the groups below it",
		})
	case 2:
		v.cannot(field, weight, noCFQ)
	}
}

type throttleList struct {
	name, file, key string // the field, and where it goes in version 1 and in version 2's io.max
	devices         []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttleList {
	return []throttleList{
		{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}

// throttle writes a line a device; a rate of 0 takes a limit away.
func (v *resolver) throttle(t throttleList) {
	for i, d := range t.devices {
		field := fmt.Sprintf("%s%s[%d].rate", ioField, t.name, i)
		number, rate := fmt.Sprintf("%d:%d ", d.Major, d.Minor), strconv.FormatUint(d.Rate, 10)
		s := setting{field: field, hint: hintDevice, lacking: "this kernel was built without CONFIG_BLK_DEV_THROTTLING"}
		switch v.version("blkio", "io", field) {
		case 0:
			return
		case 1:
			s.version, s.controller, s.file, s.value = 1, "blkio", t.file, number+rate
			s.why = "a second at most, of direct I/O: version 1 does not see who caused a delayed write"
		case 2:
			if d.Rate == 0 {
				rate = noLimit
			}
			s.version, s.controller, s.file, s.value = 2, "io", "io.max", number+t.key+"="+rate
			s.why = "a second at most"
		}
		v.add(s)
	}
}
