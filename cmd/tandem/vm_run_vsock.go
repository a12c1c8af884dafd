package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/vhost/kernel"
	"tandem/virtio"
	"tandem/virtio/vsock"
	"tandem/vmm"
)

// vsockSpec is what --vsock asks for.
type vsockSpec struct {
	CID    uint64 `json:"cid"`
	Socket string `json:"socket,omitempty"` // of the host's side, in the monitor
	Vhost  bool   `json:"vhost,omitempty"`  // the kernel's, and programs of the host use AF_VSOCK
}

// parseVsock reads cid=N,uds=PATH or cid=N,vhost.
func parseVsock(text string) (s vsockSpec, err error) {
	s.CID = vsock.MinGuestCID
	for _, word := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case key == "cid":
			if s.CID, err = strconv.ParseUint(value, 10, 64); err != nil || s.CID < vsock.MinGuestCID || s.CID > vsock.MaxGuestCID {
				return s, fmt.Errorf("%s: want %d to %d", word, uint64(vsock.MinGuestCID), uint64(vsock.MaxGuestCID))
			}
		case key == "uds" && value != "":
			if s.Socket, err = filepath.Abs(value); err != nil {
				return s, err
			}
		case word == "vhost":
			s.Vhost = true
		default:
			return s, fmt.Errorf("%q is none of cid=N, uds=PATH, vhost", word)
		}
	}
	switch {
	case s.Vhost && s.Socket != "":
		return s, errors.New("uds=PATH and vhost: with the kernel's, programs of the host use AF_VSOCK, and no Unix socket")
	case !s.Vhost && s.Socket == "":
		return s, errors.New("want uds=PATH, a Unix socket for programs of the host, or vhost, the kernel's own")
	}
	if s.Socket != "" {
		if _, err := os.Lstat(s.Socket); !errors.Is(err, fs.ErrNotExist) {
			return s, errors.Join(err, fmt.Errorf("%s is there already", s.Socket))
		}
	}
	return s, nil
}

// device is the socket device as the machine plugs it in.
func (s vsockSpec) device(transport vmm.Transport, report func(device string, err error)) vmm.Device {
	const name = "vsock"
	tell := func(err error) { report(name, err) }
	d := vmm.Device{Name: name, Type: virtio.TypeVsock, Transport: transport, Source: s.Socket}
	if s.Vhost {
		d.Source = "vhost"
		d.Open = func() (virtio.Device, error) {
			return kernel.OpenVsock(kernel.VsockSpec{CID: s.CID, Report: tell})
		}
		return d
	}
	d.Open = func() (virtio.Device, error) {
		return vsock.New(vsock.Spec{CID: s.CID, Path: s.Socket, Report: tell})
	}
	return d
}
