package generate

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
)

var defaultColumns = []string{"id sequence", "at time", "key key(1000)", "value float(0,100)"}

const wantKind = "sequence, int(min,max), float(min,max), bool, pick(a,b,…), key(n), text(length) or time"

// columnError is a field that is wrong.
type columnError struct{ got, want, fix string }

func (e *columnError) Error() string {
	return fmt.Sprintf("fields: got %q, want %s", e.got, e.want)
}

// column makes the values of one field. Which of its parts are in use depends on the kind.
type column struct {
	kind     string
	seed     uint64
	min      int64
	span     uint64 // of int: max-min; it may be all of uint64
	low, mul float64
	values   []row.Value // of pick and key
	keys     uint64      // of key: how many, also when there are no values
	text     string      // of text
	length   uint64
}

// columns reads the fields and gives their schema.
func columns(texts []string, seed int64) ([]column, *row.Schema, error) {
	var cs []column
	var fields []row.Field
	for _, text := range texts {
		name, kind, _ := strings.Cut(strings.TrimSpace(text), " ")
		c, f, err := parseColumn(text, name, strings.TrimSpace(kind), seed)
		if err != nil {
			return nil, nil, err
		}
		for _, before := range fields {
			if before.Name == f.Name {
				return nil, nil, &columnError{got: strconv.Quote(text), want: "each name once"}
			}
		}
		cs = append(cs, c)
		fields = append(fields, f)
	}
	s, err := row.NewSchema(fields...)
	return cs, s, err
}

// maxKeys is up to how many keys are made beforehand.
const maxKeys = 1 << 20

func parseColumn(text, name, kind string, seed int64) (column, row.Field, error) {
	refuse := func(want string) (column, row.Field, error) {
		return column{}, row.Field{}, &columnError{got: strconv.Quote(text), want: want}
	}
	word, rest, called := strings.Cut(kind, "(")
	word = strings.TrimSpace(word)
	var args []string
	if called {
		inner, ok := strings.CutSuffix(strings.TrimSpace(rest), ")")
		if !ok {
			return refuse(`a ")" at the end; in a list written with [ ] a field with a comma needs quotes`)
		}
		for _, a := range strings.Split(inner, ",") {
			args = append(args, strings.TrimSpace(a))
		}
	}
	if name == "" || kind == "" {
		return refuse(`a name and how it is made, as "user key(10000)"`)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	c := column{kind: word, seed: mix(uint64(seed) ^ h.Sum64())}
	f := row.Field{Name: name}
	numbers := func(want int) (ns []int64, ok bool) {
		for _, a := range args {
			n, err := strconv.ParseInt(a, 10, 64)
			if err != nil {
				return nil, false
			}
			ns = append(ns, n)
		}
		return ns, len(ns) == want
	}
	switch word {
	case "sequence", "time", "bool":
		if called {
			return refuse(word + " without (…)")
		}
		f.Type.Kind = map[string]row.Kind{"sequence": row.KindInt64, "time": row.KindTimestamp, "bool": row.KindBool}[word]
	case "int":
		ns, ok := numbers(2)
		if !ok || ns[0] > ns[1] {
			return refuse("int(min,max) with whole numbers, min not above max")
		}
		c.min, c.span = ns[0], uint64(ns[1]-ns[0])
		f.Type.Kind = row.KindInt64
	case "float":
		var ends [2]float64
		ok := len(args) == 2
		for i := 0; ok && i < 2; i++ {
			var err error
			ends[i], err = strconv.ParseFloat(args[i], 64)
			ok = err == nil && ends[i]-ends[i] == 0 // neither NaN nor infinite
		}
		if !ok || ends[0] > ends[1] {
			return refuse("float(min,max) with numbers, min not above max")
		}
		c.low, c.mul = ends[0], (ends[1]-ends[0])/(1<<53)
		f.Type.Kind = row.KindFloat64
	case "pick":
		if len(args) == 0 || args[0] == "" && len(args) == 1 {
			return refuse("pick(a,b,…) with at least one text")
		}
		for _, a := range args {
			c.values = append(c.values, row.String(a))
		}
		f.Type.Kind = row.KindString
	case "key":
		ns, ok := numbers(1)
		if !ok || ns[0] < 1 {
			return refuse("key(n) with the number of keys, at least 1")
		}
		if c.keys = uint64(ns[0]); c.keys <= maxKeys {
			c.values = keys(ns[0])
		}
		f.Type.Kind = row.KindString
	case "text":
		ns, ok := numbers(1)
		if !ok || ns[0] < 0 || ns[0] > maxText {
			return refuse(fmt.Sprintf("text(length) with a number of bytes up to %d", maxText))
		}
		c.length = uint64(ns[0])
		c.text = letters(int(ns[0]) + textStarts)
		f.Type.Kind = row.KindString
	default:
		_, _, err := refuse(wantKind)
		err.(*columnError).fix = fault.DidYouMean(word, []string{"sequence", "int", "float", "bool", "pick", "key", "text", "time"})
		return column{}, f, err
	}
	return c, f, nil
}

// keys makes k0, k1, …, all in one string.
func keys(n int64) []row.Value {
	var text strings.Builder
	ends := make([]int, n)
	for i := range ends {
		text.WriteByte('k')
		text.WriteString(strconv.Itoa(i))
		ends[i] = text.Len()
	}
	vs, all, from := make([]row.Value, n), text.String(), 0
	for i, end := range ends {
		vs[i] = row.String(all[from:end])
		from = end
	}
	return vs
}

// maxText is the longest text, and textStarts how many places a text may begin at in the letters it is cut from.
const maxText, textStarts = 1 << 20, 1 << 16

func letters(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz "[r.IntN(27)]
	}
	return string(b)
}

// mix spreads a number over all 64 bits (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// upTo gives a number from 0 to n-1 that x falls on.
func upTo(x, n uint64) uint64 {
	hi, _ := bits.Mul64(x, n)
	return hi
}

// at gives the field's random number of record n.
func (c *column) at(n int64) uint64 { return mix(c.seed + uint64(n)*0x9e3779b97f4a7c15) }

// fill makes the field's values of count records, from number n on: every width-th of vs.
func (c *column) fill(vs []row.Value, width int, n, of int64, count int, clock clock) {
	switch c.kind {
	case "sequence":
		for i := range count {
			vs[i*width] = row.Int(n + int64(i)*of)
		}
	case "time":
		for i := range count {
			vs[i*width] = row.Timestamp(clock.micros(n + int64(i)*of))
		}
	case "bool":
		for i := range count {
			vs[i*width] = row.Bool(c.at(n+int64(i)*of)&1 != 0)
		}
	case "int":
		for i := range count {
			x := c.at(n + int64(i)*of)
			if c.span+1 != 0 {
				x = upTo(x, c.span+1)
			}
			vs[i*width] = row.Int(c.min + int64(x))
		}
	case "float":
		for i := range count {
			vs[i*width] = row.Float(c.low + float64(c.at(n+int64(i)*of)>>11)*c.mul)
		}
	case "key":
		if c.values == nil {
			for i := range count {
				vs[i*width] = row.String("k" + strconv.FormatUint(upTo(c.at(n+int64(i)*of), c.keys), 10))
			}
			return
		}
		fallthrough
	case "pick":
		for i := range count {
			vs[i*width] = c.values[upTo(c.at(n+int64(i)*of), uint64(len(c.values)))]
		}
	case "text":
		for i := range count {
			from := c.at(n+int64(i)*of) % textStarts
			vs[i*width] = row.String(c.text[from : from+c.length])
		}
	}
}
