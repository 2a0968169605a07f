package fault

import "strings"

// Nearest finds the known name that was probably meant; "" when none is near. Case, '-' and '_' count little.
func Nearest(got string, known []string) string {
	best, least := "", 1+max(1, len(got)/3)
	for _, k := range known {
		d := distance(got, k)
		if fold(got) == fold(k) {
			d = 0
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// DidYouMean is the sentence that names the nearest known name; empty when none is near.
func DidYouMean(got string, known []string) string {
	if n := Nearest(got, known); n != "" {
		return `did you mean "` + n + `"?`
	}
	return ""
}

func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance is how many letters must be changed, added, left out or swapped with their neighbour to get from a to b.
func distance(a, b string) int {
	const longest = 64 // names are short; more is no typing mistake
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var rows [3][longest + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
