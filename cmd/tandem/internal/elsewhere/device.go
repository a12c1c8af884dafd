package elsewhere

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/vhost/user/frontend"
	"tandem/virtio"
	"tandem/vmm"
)

// Device is a device that is wanted, and the socket of whoever serves it.
type Device struct {
	Kind   string `json:"kind"` // blk, net or fs
	Socket string `json:"socket"`
	Queues int    `json:"queues,omitempty"` // of requests; 1 if 0
	Tag    string `json:"tag,omitempty"`    // of a file system: what it is mounted by
}

// The kinds of devices.
const (
	Blk = "blk"
	Net = "net"
	FS  = "fs"
)

const (
	maxQueues = 256
	queueSize = 256
	tagSize   = 36 // struct virtio_fs_config, virtio 1.2, section 5.11.4
	blkConfig = 60 // struct virtio_blk_config, section 5.2.4
)

// ParseDevice reads KIND,socket=PATH[,queues=N][,tag=T].
func ParseDevice(text string) (d Device, err error) {
	words := strings.Split(text, ",")
	d.Kind = words[0]
	if d.Kind != Blk && d.Kind != Net && d.Kind != FS {
		return d, fmt.Errorf("%q is none of blk, net, fs", d.Kind)
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "socket" && value != "":
			if d.Socket, err = filepath.Abs(value); err != nil {
				return d, err
			}
		case key == "queues":
			if d.Queues, err = strconv.Atoi(value); err != nil || d.Queues < 1 || d.Queues > maxQueues {
				return d, fmt.Errorf("%s: want 1 to %d", word, maxQueues)
			}
		case key == "tag" && d.Kind == FS:
			if err := checkTag(value); err != nil {
				return d, err
			}
			d.Tag = value
		default:
			return d, fmt.Errorf("%q is none of socket=PATH, queues=N, and for a file system tag=NAME", word)
		}
	}
	switch {
	case d.Socket == "":
		return d, errors.New("socket=PATH is missing")
	case d.Kind == FS && d.Tag == "":
		return d, errors.New("tag=NAME is missing: what the file system is mounted by")
	}
	return d, nil
}

func checkTag(tag string) error {
	switch {
	case tag == "" || len(tag) > tagSize:
		return fmt.Errorf("tag %q: want 1 to %d bytes", tag, tagSize)
	case strings.ContainsAny(tag, "/,:\x00") || tag == "." || tag == "..":
		return fmt.Errorf("tag %q: it is a folder's name in the guest too, so neither \".\" nor \"..\", and no / , : in it", tag)
	}
	return nil
}

// spec is what the front-end is made with.
func (d *Device) spec(report func(error)) frontend.Spec {
	s := frontend.Spec{Dial: frontend.Socket(d.Socket), QueueSize: queueSize, Report: report}
	queues := max(1, d.Queues)
	switch d.Kind {
	case Blk:
		s.Type, s.Queues, s.ConfigSize = virtio.TypeBlk, queues, blkConfig
	case FS:
		s.Type, s.Queues = virtio.TypeFS, 1+queues // the first is for what must not wait (forget, interrupt)
		s.Config = make([]byte, tagSize+4)
		copy(s.Config, d.Tag)
		binary.LittleEndian.PutUint32(s.Config[tagSize:], uint32(queues))
		s.Once = true // the server knows what the guest has open, and the next one would not
	}
	return s
}

var types = map[string]virtio.Type{Blk: virtio.TypeBlk, FS: virtio.TypeFS}

// Machine is the device as the machine plugs it in, and closes it. The machine's memory has to be shared.
func (d *Device) Machine(ctx context.Context, name string, transport vmm.Transport, report func(device string, err error)) vmm.Device {
	return vmm.Device{
		Name: name, Type: types[d.Kind], Transport: transport, Source: "vhost-user " + d.Socket,
		Open: func() (virtio.Device, error) {
			return frontend.Open(ctx, d.spec(func(err error) { report(name, err) }))
		},
	}
}
