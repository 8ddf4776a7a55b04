// Command log-verifier checks an audit log as somebody would who knows the C2SP specifications and nothing of Stanch: with the note and
// tlog packages of golang.org/x/mod, unmodified, on the files that tlog-tiles names.
//
//	log-verifier KEY FOLDER [CHECKPOINT…]   checks a log, and that it goes on from earlier checkpoints
//	log-verifier -proof FILE KEY ENTRY      checks a tlog-proof of the entry in a file
//
// It prints one line and exits with 0, or says what is wrong and exits with 1.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tlog-tiles fixes the height.
const height = 8
const width = 1 << height

func main() {
	proof := flag.String("proof", "", "a tlog-proof")
	flag.Parse()
	args := flag.Args()
	said, err := "", errors.New("usage: log-verifier KEY FOLDER [CHECKPOINT…] | log-verifier -proof FILE KEY ENTRY")
	switch {
	case *proof != "" && len(args) == 2:
		said, err = checkProof(*proof, args[0], args[1])
	case *proof == "" && len(args) >= 2:
		said, err = checkLog(args[0], args[1], args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(said)
}

// open reads a checkpoint that the key signed.
func open(text []byte, keyFile string) (tlog.Tree, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(key), "\n"))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("key: %w", err)
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("checkpoint: %w", err)
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint of %q by the key of %q", origin, verifier.Name())
	}
	// The checksum database has a fixed origin, and checkpoints are otherwise its tree notes.
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

func checkLog(keyFile, folder string, earlier []string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := open(text, keyFile)
	if err != nil {
		return "", err
	}
	log := files{folder}
	hashes := tlog.TileHashReader(tree, log)
	if err := checkTiles(log, tree, hashes); err != nil {
		return "", err
	}
	if err := checkEntries(log, tree, hashes); err != nil {
		return "", err
	}
	for _, file := range earlier {
		if err := checkEarlier(file, keyFile, tree, hashes); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
	}
	return fmt.Sprintf("%d entries, root %v, %d earlier checkpoints", tree.N, tree.Hash, len(earlier)), nil
}

// checkTiles compares every tile, and the root, with the hashes that the checkpoint vouches for.
func checkTiles(log files, tree tlog.Tree, hashes tlog.HashReader) error {
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("root is %v, signed is %v", root, tree.Hash)
	}
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		stored, err := log.tile(tile)
		if err != nil {
			return err
		}
		derived, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		if !bytes.Equal(stored, derived) {
			return fmt.Errorf("%s is another one than what the checkpoint vouches for", tile.Path())
		}
	}
	return nil
}

// checkEntries compares every entry with its hash, and proves a few of them.
func checkEntries(log files, tree tlog.Tree, hashes tlog.HashReader) error {
	for index := int64(0); index < tree.N; {
		entries, err := log.bundle(index/width, min(width, tree.N-index))
		if err != nil {
			return fmt.Errorf("bundle of entry %d: %w", index, err)
		}
		for _, entry := range entries {
			vouched, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			if err != nil {
				return err
			}
			if found := tlog.RecordHash(entry); found != vouched[0] {
				return fmt.Errorf("entry %d has another hash than its tile says", index)
			}
			if index%97 == 0 || index == tree.N-1 {
				proof, err := tlog.ProveRecord(tree.N, index, hashes)
				if err != nil {
					return err
				}
				if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
					return fmt.Errorf("entry %d: %w", index, err)
				}
			}
			index++
		}
	}
	return nil
}

// checkEarlier proves that the log goes on from a checkpoint that was kept elsewhere.
func checkEarlier(file, keyFile string, tree tlog.Tree, hashes tlog.HashReader) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	old, err := open(text, keyFile)
	if err != nil {
		return err
	}
	if old.N > tree.N {
		return fmt.Errorf("it covers %d entries, the log has %d", old.N, tree.N)
	}
	if old.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

// checkProof checks a tlog-proof.
func checkProof(file, keyFile, entryFile string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return "", err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", errors.New("no tlog-proof")
	}
	var index int64
	if _, err := fmt.Sscanf(lines[1], "index %d", &index); err != nil || lines[1] != fmt.Sprintf("index %d", index) {
		return "", fmt.Errorf("no index in %q", lines[1])
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	tree, err := open([]byte(checkpoint), keyFile)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return "", err
	}
	return fmt.Sprintf("entry %d of %d", index, tree.N), nil
}

// files reads a log's folder.
type files struct{ folder string }

func (f files) Height() int { return height }

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := f.tile(tile)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// read reads a partial file, or the full one that replaced it.
func (f files) read(path string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(f.folder, path))
	if errors.Is(err, fs.ErrNotExist) {
		full, _, partial := strings.Cut(path, ".p/")
		if partial {
			return os.ReadFile(filepath.Join(f.folder, full))
		}
	}
	return data, err
}

func (f files) tile(tile tlog.Tile) ([]byte, error) {
	// tlog-tiles leaves the height out of the path.
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
	data, err := f.read(path)
	if err != nil {
		return nil, err
	}
	if len(data) != tile.W*tlog.HashSize && len(data) != width*tlog.HashSize {
		return nil, fmt.Errorf("%s has %d bytes", path, len(data))
	}
	return data[:tile.W*tlog.HashSize], nil
}

func (f files) bundle(index, count int64) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: index, W: int(count)}
	data, err := f.read(strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/0/", height), "tile/entries/", 1))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("it is cut")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries, data = append(entries, data[2:end]), data[end:]
	}
	if int64(len(entries)) != count && len(entries) != width {
		return nil, fmt.Errorf("it has %d entries", len(entries))
	}
	return entries[:count], nil
}
