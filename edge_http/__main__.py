"""python -m edge_http"""

from edge_http.app import main

main()
