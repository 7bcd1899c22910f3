// Makes vectors.json: what golang.org/x/mod/sumdb says of trees, tiles, notes and checkpoints. Run: go run . >vectors.json
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// What is proven at these sizes: around each border of subtrees and tiles.
var sizes = []int64{1, 2, 3, 4, 7, 8, 33, 128, 255, 256, 257, 511, 513, 600}

const most = 600

type hashes []tlog.Hash

func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		out = append(out, (*h)[index])
	}
	return out, nil
}

type root struct {
	Size int64  `json:"size"`
	Root string `json:"root"`
}

type proof struct {
	// The entry of an inclusion, the older size of a consistency.
	One   int64    `json:"one"`
	Size  int64    `json:"size"`
	Proof []string `json:"proof"`
}

type path struct {
	// -1 is entries.
	Level  int    `json:"level"`
	Number int64  `json:"number"`
	Width  int    `json:"width"`
	Path   string `json:"path"`
}

type tile struct {
	Path string `json:"path"`
	Hex  string `json:"hex"`
}

type signed struct {
	Seed  string `json:"seed"`
	Name  string `json:"name"`
	Skey  string `json:"skey"`
	Vkey  string `json:"vkey"`
	Text  string `json:"text"`
	Notes string `json:"note"`
}

type vectors struct {
	Versions    map[string]string   `json:"versions"`
	Roots       []root              `json:"roots"`
	Inclusion   []proof             `json:"inclusion"`
	Consistency []proof             `json:"consistency"`
	Paths       []path              `json:"paths"`
	Tiles       []tile              `json:"tiles"`
	TreeTiles   map[string][]string `json:"tree_tiles"`
	Notes       []signed            `json:"notes"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func hexes(list []tlog.Hash) []string {
	out := []string{}
	for _, one := range list {
		out = append(out, hex.EncodeToString(one[:]))
	}
	return out
}

// Go writes the height into its paths (tile/8/…) and "data" for entries; C2SP neither.
func c2sp(t tlog.Tile) string {
	p := strings.TrimPrefix(t.Path(), "tile/8/")
	return "tile/" + strings.Replace(p, "data/", "entries/", 1)
}

func main() {
	var out vectors
	out.Versions = map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		out.Versions["go"] = info.GoVersion
		for _, dependency := range info.Deps {
			out.Versions[dependency.Path] = dependency.Version
		}
	}
	var stored hashes
	reader := &stored
	for i := int64(0); i < most; i++ {
		entry := []byte(fmt.Sprintf("entry %d", i))
		stored = append(stored, must(tlog.StoredHashes(i, entry, reader))...)
	}
	for size := int64(0); size <= most; size++ {
		h := must(tlog.TreeHash(size, reader))
		out.Roots = append(out.Roots, root{size, hex.EncodeToString(h[:])})
	}
	for _, size := range sizes {
		for _, one := range sizes {
			if one-1 < size {
				out.Inclusion = append(out.Inclusion, proof{one - 1, size, hexes(must(tlog.ProveRecord(size, one-1, reader)))})
			}
			if one <= size {
				out.Consistency = append(out.Consistency, proof{one, size, hexes(must(tlog.ProveTree(size, one, reader)))})
			}
		}
	}
	for _, number := range []int64{0, 1, 9, 10, 99, 100, 255, 999, 1000, 1001, 999999, 1000000, 1234067, 123456789012} {
		for _, level := range []int{-1, 0, 1, 2, 7} {
			for _, width := range []int{1, 7, 112, 255, 256} {
				t := tlog.Tile{H: 8, L: level, N: number, W: width}
				out.Paths = append(out.Paths, path{level, number, width, c2sp(t)})
			}
		}
	}
	out.TreeTiles = map[string][]string{}
	for _, size := range []int64{1, 255, 256, 257, 512, 600, 65536, 70000} {
		list := []string{}
		for _, t := range tlog.NewTiles(8, 0, size) {
			list = append(list, c2sp(t))
		}
		out.TreeTiles[fmt.Sprint(size)] = list
	}
	for _, t := range tlog.NewTiles(8, 0, most) {
		out.Tiles = append(out.Tiles, tile{c2sp(t), hex.EncodeToString(must(tlog.ReadTileData(t, reader)))})
	}
	for i := 0; i < 4; i++ {
		seed := make([]byte, 32)
		for at := range seed {
			seed[at] = byte(i*32 + at)
		}
		name := fmt.Sprintf("example.org/cluster/c%d/audit/1", i)
		key := ed25519.NewKeyFromSeed(seed)
		vkey := must(note.NewEd25519VerifierKey(name, key.Public().(ed25519.PublicKey)))
		id := strings.Split(vkey, "+")[1]
		skey := "PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))
		signer := must(note.NewSigner(skey))
		size := []int64{0, 1, 256, 600}[i]
		h := must(tlog.TreeHash(size, reader))
		text := fmt.Sprintf("%s\n%d\n%s\n", name, size, h)
		message := must(note.Sign(&note.Note{Text: text}, signer))
		out.Notes = append(out.Notes, signed{hex.EncodeToString(seed), name, skey, vkey, text, string(message)})
	}
	bytes := must(json.Marshal(out))
	fmt.Println(string(bytes))
}
