package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"tandem/network/netns"
)

// TablePrefix begins the name of every table: that of its bridge.
const TablePrefix = "tandem"

// buffer is room for one transaction, which is one message to the kernel, and for its answers: some ten thousand rules.
const buffer = 16 << 20

// Conn speaks to the nftables of one network namespace. It is for one goroutine at a time. The caller closes it.
type Conn struct{ nft *nftables.Conn }

// Open opens a connection. It needs CAP_NET_ADMIN in the namespace.
func Open(ns *netns.NS) (*Conn, error) {
	var c *nftables.Conn
	err := ns.Do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(conn *netlink.Conn) error {
			return errors.Join(conn.SetWriteBuffer(buffer), conn.SetReadBuffer(buffer))
		}))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("firewall: open nfnetlink: %w", err)
	}
	return &Conn{c}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nft.CloseLasting() }

func table(bridge string) *nftables.Table {
	return &nftables.Table{Name: bridge, Family: nftables.TableFamilyINet}
}

// Apply makes the bridge's table hold the ruleset, and nothing else, in one transaction: a packet meets the old rules
// or the new ones. Connections that are known go on.
func (c *Conn) Apply(r Ruleset) error {
	t := c.nft.AddTable(table(r.Bridge))
	byName := make(map[string]*nftables.Chain)
	for _, ch := range chains {
		made := &nftables.Chain{Name: ch.name, Table: t}
		if ch.hook != nil {
			policy := nftables.ChainPolicyAccept
			made.Type, made.Hooknum, made.Priority, made.Policy = ch.kind, ch.hook, ch.priority, &policy
		}
		byName[ch.name] = c.nft.AddChain(made)
	}
	c.nft.FlushTable(t)
	for _, rule := range r.rules() {
		c.nft.AddRule(&nftables.Rule{
			Table: t, Chain: byName[rule.chain], Exprs: rule.exprs(), UserData: rule.userData(),
		})
	}
	if err := c.nft.Flush(); err != nil {
		return fmt.Errorf("firewall: set table inet %s: %w", r.Bridge, err)
	}
	return nil
}

// Publish adds the rules of a box that has none yet to a table that holds the rest of the ruleset. It saves the kernel
// the taking apart of the old rules, which Apply causes, and which the closing of the connection would wait for. A table
// that is not there, since somebody flushed the rules, is made.
func (c *Conn) Publish(r Ruleset, id string) error {
	chain := &nftables.Chain{Name: "published", Table: table(r.Bridge)}
	for _, b := range r.Boxes {
		if b.ID != id {
			continue
		}
		for _, rule := range b.rules() {
			c.nft.AddRule(&nftables.Rule{
				Table: chain.Table, Chain: chain, Exprs: rule.exprs(), UserData: rule.userData(),
			})
		}
	}
	err := c.nft.Flush()
	if errors.Is(err, fs.ErrNotExist) {
		return c.Apply(r)
	}
	if err != nil {
		return fmt.Errorf("firewall: publish the ports of %s on %s: %w", id, r.Bridge, err)
	}
	return nil
}

// Has tells whether the bridge's table is there.
func (c *Conn) Has(bridge string) (bool, error) {
	_, err := c.nft.ListTableOfFamily(bridge, nftables.TableFamilyINet)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("firewall: get table inet %s: %w", bridge, err)
}

// Remove removes the bridge's table, if it is there.
func (c *Conn) Remove(bridge string) error {
	c.nft.DelTable(c.nft.AddTable(table(bridge))) // in one transaction, so that there is one to delete
	if err := c.nft.Flush(); err != nil {
		return fmt.Errorf("firewall: delete table inet %s: %w", bridge, err)
	}
	return nil
}

// Tables names the tables of all bridges.
func (c *Conn) Tables() ([]string, error) {
	tables, err := c.nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("firewall: list tables: %w", err)
	}
	var names []string
	for _, t := range tables {
		if strings.HasPrefix(t.Name, TablePrefix) {
			names = append(names, t.Name)
		}
	}
	return names, nil
}
