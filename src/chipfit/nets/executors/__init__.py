"""What each family of operators computes in torch; `nets.execute` has the one table of them."""
