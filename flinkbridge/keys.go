package flinkbridge

import (
	"math/bits"
	"strings"
	"sync"

	"github.com/spaolacci/murmur3"
)

// A cluster spreads keys over its subtasks by their hash. There are few lanes, shards and buckets, and as they hash some subtasks would have several and others none:
// so their keys carry a nonce behind the number, which is searched so that key i of n falls on group i·groups/n. Subtasks have groups that follow one another, the same
// number each, so at any parallelism each has its share of the keys. The keys of a flow are the same for its life as long as n, the groups and the hash are.

// placing says how a runner places keys. The zero value is for runners that do not, or not in a way that is known: keys are their numbers then.
type placing struct {
	By placer `json:"by"`
	// Groups is how many there are: of a streaming job what parallelism can ever be, of a batch job its parallelism.
	Groups int `json:"groups"`
}

// placer is the name of a way to make a group of a key.
type placer string

const (
	// byBuffer is that of streaming jobs with Beam 2.62: the key with its length in front of it, as Java's ByteBuffer hashes it. byMurmur is that with Beam 2.70.
	byBuffer placer = "buffer"
	byMurmur placer = "murmur"
	// byArray is that of batch jobs, with both: as Java's Arrays hashes the key.
	byArray placer = "array"
)

// placerOf is how the runner of a version of Beam places keys; "" when that is not known.
func placerOf(beam string, streaming bool) placer {
	by := map[string]placer{"2.62": byBuffer, "2.70": byMurmur}[minorOf(beam)]
	if by != "" && !streaming {
		by = byArray
	}
	return by
}

// minorOf is a version's first two numbers.
func minorOf(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// group is where a searched key falls.
func (p placing) group(key searchedKey) int { return int(mixed(hashes[p.By](key))) % p.Groups }

// keyLength is the length of a searched key: its number and its nonce, in four bytes each. A plain key is the number alone. Each byte has seven bits, so that a key is
// text: Beam puts keys into messages as they are, and a message that is no text ends the worker.
const keyLength = 8

// sevens is a number of 28 bits in four bytes of seven.
func sevens(n uint32) [4]byte {
	return [4]byte{byte(n >> 21 & 0x7f), byte(n >> 14 & 0x7f), byte(n >> 7 & 0x7f), byte(n & 0x7f)}
}

type searchedKey = [keyLength]byte

var hashes = map[placer]func(searchedKey) int32{
	byBuffer: func(key searchedKey) int32 {
		hash := int32(1)
		for i := keyLength - 1; i >= 0; i-- {
			hash = 31*hash + int32(int8(key[i]))
		}
		return 31*hash + keyLength
	},
	byMurmur: func(key searchedKey) int32 {
		nested := [1 + keyLength]byte{keyLength}
		copy(nested[1:], key[:])
		low, _ := murmur3.Sum128(nested[:])
		return int32(low)
	},
	byArray: func(key searchedKey) int32 {
		hash := int32(1)
		for _, b := range key {
			hash = 31*hash + int32(int8(b))
		}
		return hash
	},
}

// mixed is what Flink makes of a hash before it takes the remainder: Murmur's last steps for one word of four bytes.
func mixed(hash int32) int32 {
	h := uint32(hash) * 0xcc9e2d51
	h = bits.RotateLeft32(h, 15) * 0x1b873593
	h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	h ^= 4
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	switch n := int32(h ^ h>>16); {
	case n >= 0:
		return n
	case n != -n:
		return -n
	}
	return 0
}

// mostTries is how many keys are tried in one search, a tenth of a second's work.
const mostTries = 1 << 23

// search makes the keys of the numbers below n. A group that is not found in so many tries is not worth more: the nearest that was seen does as well.
func (p placing) search(n int) [][]byte {
	keys := make([][]byte, n)
	if p.By == "" {
		for i := range keys {
			key := sevens(uint32(i))
			keys[i] = key[:]
		}
		return keys
	}
	hash, tries := hashes[p.By], min(16*p.Groups, mostTries/max(1, n))
	for i := range keys {
		want, nearest := i*p.Groups/n, p.Groups
		var key, best searchedKey
		number := sevens(uint32(i))
		copy(key[:], number[:])
		for try := uint32(0); nearest > 0 && int(try) < tries; try++ {
			nonce := sevens(try * 0x9e3779b9) // all bytes differ from one try to the next
			copy(key[4:], nonce[:])
			got := int(mixed(hash(key))) % p.Groups
			if distance := max(want-got, got-want); distance < nearest {
				nearest, best = distance, key
			}
		}
		keys[i] = best[:]
	}
	return keys
}

// keys are the keys of the numbers below n; they are searched once in a process.
func (p placing) keys(n int) [][]byte {
	of := struct {
		placing
		n int
	}{p, n}
	search, ok := searched.Load(of)
	if !ok {
		search, _ = searched.LoadOrStore(of, sync.OnceValue(func() [][]byte { return p.search(n) }))
	}
	return search.(func() [][]byte)()
}

var searched sync.Map

// numberOf takes the number off the front of a key; it must be below n.
func numberOf(key []byte, n int) (number int, ok bool) {
	if len(key) < 4 {
		return 0, false
	}
	for _, b := range key[:4] {
		if b > 0x7f {
			return 0, false
		}
		number = number<<7 | int(b)
	}
	return number, number < n
}
