"""Which values do the columns of a job have?"""
