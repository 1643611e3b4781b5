import numpy as np, time
from evsim.jit import kernel, apart
dt=np.dtype([('hi','f8'),('k','i8'),('x','f8',(7,)),('b','f8',(3,7))],align=True)
a=np.zeros(5,dt).view(np.recarray)
print(type(a[0]))
a[0].hi=3; a[0].x[2]=4
@kernel
def g(r, c):
    apart()
    r.x[c]+=1.0
    r.b[1,c]=r.x[c]*2
    return r.hi
@kernel
def f(a,n):
    s=0.0
    for c in range(7):
        s+=g(a[n],c)
    a[n].k=a[n].k+1
    y=a[n].x
    return s+y[2]
t=time.time(); print(f(a,0), a[0], time.time()-t)
