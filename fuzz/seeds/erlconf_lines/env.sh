export A="${B:-c}"
if x; then y | z >f; fi
cat <<E
q
E
D=$(e "`g`") exec erl -sname <%= h %>
