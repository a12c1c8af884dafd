package image

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrDenied tells that a registry wants to know who asks, or does not want to give it to them.
var ErrDenied = errors.New("the registry refuses: no such repository, or it needs a login (docker login, podman login)")

// ErrInsecure tells of plain HTTP where nobody asked for it.
var ErrInsecure = errors.New("plain HTTP is for registries on loopback, or has to be asked for")

// TransferOptions are for Pull and Push. The zero value is good.
type TransferOptions struct {
	Platform *ocispec.Platform // which one of an index; nil is this machine's
	Insecure bool              // HTTP, which loopback may always speak, or HTTPS with anybody's certificate
	Progress Progress          // may be nil
}

// A connection is what one Pull or Push talks to registries by.
type connection struct {
	transport *http.Transport
	options   []remote.Option
}

func connect(insecure bool) *connection {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	if insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return &connection{
		transport: t,
		options: []remote.Option{
			remote.WithTransport(&guard{t, insecure}),
			remote.WithAuthFromKeychain(authn.DefaultKeychain), // the logins of docker and podman
			remote.WithUserAgent("tandem"),
		},
	}
}

func (c *connection) close() { c.transport.CloseIdleConnections() }

// guard keeps the client from plain HTTP, which it would fall back to for any private address, and which a redirect or
// a realm for tokens may ask for.
type guard struct {
	http.RoundTripper
	insecure bool
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.insecure && !isLoopback(r.URL.Hostname()) {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", r.URL.Host, ErrInsecure)
	}
	return g.RoundTripper.RoundTrip(r)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// explain puts what a registry says into the store's errors.
func explain(err error) error {
	var said *transport.Error
	if !errors.As(err, &said) {
		return err
	}
	for _, d := range said.Errors {
		switch d.Code {
		case transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode:
			return fmt.Errorf("%w in the registry: %w", ErrNotFound, err)
		case transport.UnauthorizedErrorCode, transport.DeniedErrorCode:
			return fmt.Errorf("%w: %w", ErrDenied, err)
		}
	}
	switch {
	case said.StatusCode == http.StatusUnauthorized, said.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case said.StatusCode == http.StatusNotFound && said.Request != nil &&
		strings.Contains(said.Request.URL.Path, "/manifests/"):
		return fmt.Errorf("%w in the registry: %w", ErrNotFound, err)
	}
	return err
}
